"""Each save of a template keeps the one before, and who may change it can put one back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from jobs.actions import erasure, people, teams
from jobs.drafts import template_history, templates
from jobs.models import Access, AuditEntry, Job, Membership, Role, Team, Template, TemplateVersion
from jobs.rules.recipes import Recipe

from ..conftest import signed_in, store_job

pytestmark = pytest.mark.no_database
FIRST = Recipe("Is it good? {{text}}", model="claude-haiku-5-5")
SECOND = replace(FIRST, prompt="Is it bad? {{text}}", skip_empty=True)


@pytest.fixture
def saved(alice: User) -> Template:
    templates.save_template(alice, "tone", FIRST, shared=False)
    return Template.objects.get()


def held(template: Template) -> list[tuple[int, Recipe]]:
    return [(one.number, one.recipe) for one in template.versions.order_by("number")]


def test_each_save_keeps_the_one_before(alice: User, saved: Template, client_alice: Client) -> None:
    store_job(alice, Job.State.DRAFT, name="of the first", template=saved)
    templates.save_template(alice, "tone", SECOND, shared=False)
    templates.save_template(alice, "tone", SECOND, shared=False)  # the same once more
    assert held(saved) == [(1, FIRST), (2, SECOND)]
    page = client_alice.get(reverse("template_history", args=[saved.pk])).content.decode()
    assert "<del>good?</del>" in page and "<ins>bad?</ins>" in page
    assert page.index("Version 2") < page.index("Version 1") < page.index("of the first")
    assert "Saved by" in page and "alice" in page and "<del>Off</del> On" in page


def test_an_earlier_version_comes_back_as_the_newest(
    alice: User, saved: Template, client_alice: Client
) -> None:
    templates.save_template(alice, "tone", SECOND, shared=False)
    address = reverse("template_history", args=[saved.pk])
    for _ in range(2):  # the second changes nothing
        assert client_alice.post(address, {"version": "1"}).status_code == 302
    saved.refresh_from_db()
    assert saved.recipe == FIRST
    assert held(saved) == [(1, FIRST), (2, SECOND), (3, FIRST)]
    assert saved.versions.get(number=3).restored == 1
    assert AuditEntry.objects.filter(event="template_restored").count() == 1
    assert client_alice.post(address, {"version": "77"}).status_code == 302
    assert len(held(saved)) == 3


def test_who_can_change_a_template_sees_its_history_and_puts_one_back(
    alice: User, bob: User, saved: Template, client_bob: Client
) -> None:
    templates.save_template(alice, "tone", SECOND, shared=False)
    store_job(alice, Job.State.DRAFT, name="secret job", template=saved)
    address = reverse("template_history", args=[saved.pk])
    assert client_bob.get(address).status_code == 404
    assert client_bob.post(address, {"version": "1"}).status_code == 404
    team = Team.objects.create(name="Research")
    Membership.objects.create(team=team, person=bob)
    teams.share_template(saved, team, Access.READ, alice)
    page = client_bob.get(address)
    assert page.status_code == 200
    assert b"secret job" not in page.content and b"Restore version" not in page.content
    # What it held before was never shared with him.
    assert b"Version 2" in page.content and b"Version 1" not in page.content
    assert b"<del>" not in page.content
    auditor = User.objects.create_user("ann")
    people.store_role(auditor, Role.AUDITOR)
    auditor = User.objects.get(pk=auditor.pk)
    assert b"Version 1" in signed_in(auditor).get(address).content
    assert client_bob.post(address, {"version": "1"}).status_code == 404
    teams.share_template(saved, team, Access.WORK, alice)
    assert b"Restore version" in client_bob.get(address).content
    assert client_bob.post(address, {"version": "1"}).status_code == 302
    assert saved.versions.get(number=3).saved_by == bob


def test_only_the_newest_are_kept(
    alice: User, saved: Template, monkeypatch: pytest.MonkeyPatch, client_alice: Client
) -> None:
    monkeypatch.setattr(template_history, "KEPT", 3)
    for number in range(5):
        recipe = replace(FIRST, prompt=f"{number} {{{{text}}}}")
        templates.save_template(alice, "tone", recipe, shared=False)
    assert [number for number, _recipe in held(saved)] == [4, 5, 6]
    assert client_alice.get(reverse("template_history", args=[saved.pk])).status_code == 200


def test_the_history_goes_with_its_template(alice: User, bob: User, saved: Template) -> None:
    people.hand_over(alice, bob, bob)
    saved.refresh_from_db()
    assert saved.owner == bob and len(held(saved)) == 1
    templates.save_template(bob, "tone", SECOND, shared=False)
    erasure.erase_data(bob, None)
    assert not TemplateVersion.objects.exists()
    entry = AuditEntry.objects.get(event="person_data_erased")
    assert entry.detail.after["templates"] == 1, "versions are no templates"
