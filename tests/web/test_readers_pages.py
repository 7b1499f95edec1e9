"""Who may only read gets no form that changes something, on any page."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from jobs.actions import people
from jobs.models import Role

from .. import every_page
from ..conftest import PASSWORD, Simulator, signed_in

OWN = ("/account/", "/password/", "/notifications/")
# Forms, and what sends or opens them from elsewhere on the page.
CHANGES = re.compile(r'<[^>]*(?:\bmethod="post"|\bhx-post=|\bpopovertarget=|\bform="[a-z])[^>]*>')
# "Notify me" is for everyone who sees the job, and its form is empty; a term explains itself.
ALLOWED = ('id="act"', "/follow/", 'class="term"')


def changes_on(page: str) -> list[str]:
    """The tags in its main part with which something could be changed."""
    main = page.partition("<main")[2].partition("</main>")[0]
    tags = (" ".join(match[0].split()) for match in CHANGES.finditer(main))
    return [tag for tag in tags if not any(words in tag for words in ALLOWED)]


def test_no_page_of_an_auditor_has_a_form_that_changes_something(
    db: None, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    auditors: list[Client] = []
    get = every_page.get
    read: set[str] = set()
    found: dict[str, list[str]] = {}

    def as_auditor() -> Client:
        if not auditors:
            ann = User.objects.create_user("ann", password=PASSWORD)
            people.store_role(ann, Role.AUDITOR)
            auditors.append(signed_in(User.objects.get(pk=ann.pk)))
        return auditors[0]

    def get_both(client: Client, path: str, status: int = 200) -> bytes:
        page = get(client, path, status)
        if User.objects.exists() and not path.startswith(OWN):
            answer = as_auditor().get(path)
            if answer.status_code == 200 and "html" in answer.headers["Content-Type"]:
                read.add(path)
                found[path] = changes_on(answer.content.decode())
        return page

    monkeypatch.setattr(every_page, "get", get_both)
    for _page in every_page.every_page(simulator):
        pass
    assert {path: tags for path, tags in found.items() if tags} == {}
    settings = {
        "/retention/",
        "/spending/limits/",
        "/spending/prices/",
        "/system/",
        "/audit/?days=1",
    }
    assert settings <= read and len(read) > 40
