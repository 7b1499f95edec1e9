"""A new web process loads what pages need before anybody asks for one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.template import engines
from django.template.loaders import filesystem
from django.test import Client

from jobs.models import Job
from jobs.web import warm_up


def test_after_the_start_no_page_reads_a_template(
    alice: User,
    client_alice: Client,
    make_job: Callable[..., Job],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for loader in engines["django"].engine.template_loaders:  # type: ignore[attr-defined]  # Django's
        loader.reset()  # what other tests have read
    warm_up.load()

    def read(_loader: filesystem.Loader, origin: object) -> str:
        pytest.fail(f"{origin} was read when it was asked for.")

    monkeypatch.setattr(filesystem.Loader, "get_contents", read)
    draft = make_job(alice, rows=[("a", "b")])
    finished = make_job(alice, state=Job.State.FINISHED, rows=[("a", "b")])
    for address in ("/", f"/jobs/{draft.pk}/", f"/jobs/{finished.pk}/", "/spending/"):
        assert client_alice.get(address, follow=True).status_code == 200
