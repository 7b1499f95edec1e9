"""Mails about accounts: short texts from templates, which the worker sends."""

from __future__ import annotations

from django.conf import settings
from django.template.loader import render_to_string

from ..models import outbox


def post(to: str, subject: str, template: str, context: dict[str, object]) -> bool:
    """Whether it will be mailed: there is an address, and a mail server."""
    if not settings.HAS_MAIL or not to:
        return False
    outbox.post_mail(to, subject, render_to_string(template, context).strip())
    return True
