"""Roles and teams: who sees, changes, approves and administers what."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs.actions import approvals, people, teams
from jobs.models import (
    Access,
    AuditEntry,
    Job,
    Membership,
    Role,
    SpendingCaps,
    Team,
    Template,
    administrators,
    role_of,
)
from jobs.rules.recipes import Recipe
from jobs.spending import caps, ledger

from ..conftest import PASSWORD, signed_in
from ..running import SECONDS
from .test_every_page import changes_on
from .test_security import (
    HX,
    POSTS,
    TEMPLATE_POSTS,
    everything,
    in_trouble,
    job_addresses,
    send,
)
from .test_views_draft import RECIPE, with_price

MakeJob = Callable[..., Job]
STATES: list[str] = [Job.State.DRAFT, Job.State.SUBMITTING, Job.State.FINISHED]
# What a reader opens of a job; every other page only asks what to change.
READABLE = {
    "job", "status", "price", "problems", "edits", "receipt", "rows", "row", "review",
    "answer_counts", "trials", "compare", "download", "batch_raw", "confirm", "retry",
    "save_as_template",
}  # fmt: skip


def person(name: str, role: Role) -> User:
    user = User.objects.create_user(name, password=PASSWORD)
    people.store_role(user, role)
    return User.objects.get(pk=user.pk)


def team_of(*members: User, cap: Decimal | None = None) -> Team:
    team = Team.objects.create(name="Research", most_a_month=cap)
    Membership.objects.bulk_create(Membership(team=team, person=one) for one in members)
    return team


def names_of(path: str, job: Job) -> bool:
    return any(reverse(name, args=[job.pk]) == path for name in READABLE if name in SIMPLE)


SIMPLE = READABLE - {"row", "download", "batch_raw"}


# --- What is done to a job, by whom ---------------------------------------------------------------


@pytest.mark.no_database
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("who", ["reader", "auditor"])
def test_who_reads_changes_nothing_and_is_told_so(
    make_job: MakeJob, alice: User, bob: User, state: str, who: str
) -> None:
    reader = bob if who == "reader" else person("ann", Role.AUDITOR)
    job = make_job(alice, state, team=team_of(bob), team_access=Access.READ)
    if state == Job.State.DRAFT:
        with_price(job)
    else:
        in_trouble(job).batches.get(number=3).delete()  # nobody here would close its file
    client, before = signed_in(reader), everything()
    assert client.get(f"/jobs/{job.pk}/").status_code == 200
    # Every other address is asked for as a fragment: by the other one, or in the next state, it is
    # the others. What an auditor posts is refused unread, whatever it is about: see
    # test_refusals.
    addresses = [one for one in job_addresses(job) if who == "reader" or one[0] == "GET"]
    for number, (method, path) in enumerate(addresses, STATES.index(state)):
        data = {"name": "x", "plan_sha256": job.plan_sha256, **RECIPE}
        headers = HX if (number + (who == "reader")) % 2 else {}
        answer = send(client, method, path, data=data, headers=headers)
        if answer.streaming:  # else it is closed at some time, and the database with it
            b"".join(answer.streaming_content)
        if path.endswith("/follow/"):
            assert answer.status_code == 302, "whoever sees a job may be told of it"
        elif method == "POST":
            # Addresses of the trash know nothing of the job.
            assert answer.status_code in (403, 404), path
        elif names_of(path, job) and state != Job.State.DRAFT:
            assert answer.status_code in (200, 204, 302), path
    assert everything() == before
    refused = client.post(f"/jobs/{job.pk}/rename/", {"name": "x"}).content.decode()
    words = "You can read this job" if who == "reader" else "You are an auditor"
    assert words in refused


def test_a_page_to_read_has_no_buttons(make_job: MakeJob, alice: User, bob: User) -> None:
    job = make_job(alice, team=team_of(bob))
    page = signed_in(bob).get(f"/jobs/{job.pk}/").content.decode()
    assert changes_on(page) == []
    for name in ("rename", "delete", "stop"):
        assert reverse(name, args=[job.pk]) not in page
    ann = person("ann", Role.AUDITOR)  # who made it when she was none
    page = signed_in(ann).get(f"/jobs/{make_job(ann).pk}/").content.decode()
    assert "<main" in page and changes_on(page) == []
    assert changes_on(signed_in(alice).get(f"/jobs/{job.pk}/").content.decode())


@pytest.mark.parametrize("state", STATES)
def test_a_worker_does_what_the_owner_does_but_delete_and_share(
    make_job: MakeJob, alice: User, bob: User, client_bob: Client, state: str
) -> None:
    job = make_job(alice, state, team=team_of(bob), team_access=Access.WORK)
    if state == Job.State.DRAFT:
        with_price(job)
    else:
        in_trouble(job).batches.get(number=3).delete()
    for method, path in job_addresses(job):
        if method == "GET":
            answer = client_bob.get(path)
            own = path.endswith(("/delete/", "/share/"))
            assert (answer.status_code == 403) is own, path
    client_bob.post(f"/jobs/{job.pk}/rename/", {"name": "ours"})
    assert client_bob.post(f"/jobs/{job.pk}/delete/").status_code == 403
    assert client_bob.post(f"/jobs/{job.pk}/share/", {"team_access": "read"}).status_code == 403
    job.refresh_from_db()
    assert job.name == "ours" and job.trashed_at is None and job.team is not None


def test_a_shared_job_is_in_the_list_of_the_team_only(
    make_job: MakeJob, alice: User, client_alice: Client, client_bob: Client, bob: User
) -> None:
    job = make_job(alice, name="kettles")
    team = team_of(alice, bob)
    assert "kettles" not in client_bob.get("/").content.decode()

    client_alice.post(f"/jobs/{job.pk}/share/", {"team": team.pk, "team_access": "read"})
    assert "kettles" in client_bob.get("/").content.decode()
    stranger = signed_in(person("eve", Role.MEMBER))
    assert stranger.get(f"/jobs/{job.pk}/").status_code == 404
    Membership.objects.filter(person=bob).delete()

    assert client_bob.get(f"/jobs/{job.pk}/").status_code == 404


def test_people_share_with_their_own_teams_only(
    make_job: MakeJob, alice: User, client_alice: Client, bob: User
) -> None:
    job, others = make_job(alice), team_of(bob)
    client_alice.post(f"/jobs/{job.pk}/share/", {"team": others.pk, "team_access": "work"})
    job.refresh_from_db()
    assert job.team is None


def test_a_template_is_shared_with_a_team(
    alice: User, bob: User, client_alice: Client, client_bob: Client
) -> None:
    template = Template.objects.create(owner=alice, name="tone", recipe=Recipe("Say {{a}}"))
    team = team_of(alice, bob)
    path = f"/templates/{template.pk}/team/"
    client_alice.post(path, {"team": team.pk, "team_access": "read"})
    assert "tone" in client_bob.get("/templates/").content.decode()
    rename = f"/templates/{template.pk}/rename/"
    assert client_bob.post(rename, {"name": "new"}).status_code == 404

    client_alice.post(path, {"team": team.pk, "team_access": "work"})

    assert client_bob.post(rename, {"name": "new"}).status_code == 302
    template.refresh_from_db()
    assert template.name == "new"


# --- Auditors -------------------------------------------------------------------------------------


@pytest.mark.no_database
def test_an_auditor_reads_everything_and_changes_nothing(
    make_job: MakeJob, alice: User, root: User
) -> None:
    job = make_job(alice)
    template = Template.objects.create(owner=alice, name="tone", recipe=Recipe("Say {{a}}"))
    client = signed_in(person("ann", Role.AUDITOR))
    for path in ("/", f"/jobs/{job.pk}/", "/people/", "/teams/", "/templates/"):
        page = client.get(path)
        assert page.status_code == 200, path
        assert "New job</a>" not in page.content.decode(), path
    for path in ("/spending/", "/spending/limits/", "/spending/prices/", "/spending/spending.csv"):
        assert client.get(path).status_code == 200, path
    assert "tone" in client.get("/templates/").content.decode()
    before = everything()
    own = ("logout", "tour", "password", "notifications_read")
    paths = [reverse(name) for name in POSTS if name not in own]
    paths += [reverse(name, args=[template.pk]) for name in TEMPLATE_POSTS]
    paths += [f"/people/{alice.pk}/{name}/" for name in ("active", "role", "password")]
    for path in paths:
        assert client.post(path, {"name": "x", "role": "auditor"}).status_code == 403, path
    assert everything() == before
    assert client.post("/logout/").status_code == 302


# --- Approvers ------------------------------------------------------------------------------------


def test_an_approver_sees_and_approves_what_waits_and_nothing_else(
    make_job: MakeJob, alice: User, bob: User
) -> None:
    SpendingCaps.objects.update(approval_above=0)
    job = with_price(make_job(alice, Job.State.DRAFT, prompt="Say: {{text}}"))
    people.store_role(bob, Role.APPROVER)
    client = signed_in(bob)
    assert client.get(f"/jobs/{job.pk}/").status_code == 404
    assert approvals.request_approval(job, job.plan_sha256, alice)

    assert "waiting for your approval" in client.get("/").content.decode()
    page = client.get(f"/jobs/{job.pk}/confirm/").content.decode()
    assert "Approve this job" in page and changes_on(page)
    plan = {"plan_sha256": job.plan_sha256}
    assert client.post(f"/jobs/{job.pk}/confirm/", plan).status_code == 403
    assert client.post(f"/jobs/{job.pk}/rename/", {"name": "x"}).status_code == 403
    client.post(f"/jobs/{job.pk}/confirm/", {**plan, "approval": "give"})

    job.refresh_from_db()
    assert job.approval_by == bob and caps.is_approved(job, job.plan_sha256)
    people.store_role(bob, Role.MEMBER)
    assert not caps.is_approved(job, job.plan_sha256)


# --- Teams ----------------------------------------------------------------------------------------


def test_an_administrator_makes_changes_and_deletes_a_team(
    client_root: Client, alice: User, make_job: MakeJob
) -> None:
    client_root.post("/teams/new/", {"name": "Research", "most_a_month": "5", "people": alice.pk})
    team = Team.objects.get()
    assert list(team.people.all()) == [alice] and team.most_a_month == 5
    again = client_root.post("/teams/new/", {"name": "Research"})
    assert again.status_code == 422 and "There is a team with this name" in again.content.decode()
    job = make_job(alice, team=team)

    client_root.post(f"/teams/{team.pk}/", {"delete": "yes"})

    job.refresh_from_db()
    assert job.team is None
    events = AuditEntry.objects.values_list("event", flat=True)
    assert {"team_created", "team_deleted"} <= set(events)


def test_the_limit_of_a_team_holds_for_its_jobs(make_job: MakeJob, alice: User, bob: User) -> None:
    team = team_of(alice, bob, cap=Decimal("1.00"))
    now = timezone.now()
    spent = make_job(bob, team=team, confirmed_at=now, practice=True)
    Job.objects.filter(pk=spent.pk).update(spent_pico=900_000_000_000)
    shared = make_job(alice, Job.State.DRAFT, team=team)
    alone = make_job(alice, Job.State.DRAFT)
    allowed = SpendingCaps.get()

    assert "limit of its team" in caps.why_over_cap(shared, Decimal("0.2"), allowed, now)
    assert caps.why_over_cap(shared, Decimal("0.05"), allowed, now) == ""
    assert caps.why_over_cap(alone, Decimal("0.2"), allowed, now) == ""
    ledger.keep_spending(Job.objects.get(pk=spent.pk))
    Job.objects.filter(pk=spent.pk).delete()

    # What a deleted job had cost still counts.
    month = now - timedelta(days=1)
    assert ledger.committed_since(month, team=team) == Decimal("0.9")


def test_moving_a_job_does_not_lead_around_the_limit_of_a_team(
    make_job: MakeJob, alice: User, root: User
) -> None:
    small = Team.objects.create(name="Ads", most_a_month=Decimal("0.50"))
    team, none = team_of(alice, cap=Decimal("1.00")), None
    job = make_job(alice, Job.State.WORKING, team=team, practice=True)
    Job.objects.filter(pk=job.pk).update(reserved_pico=900_000_000_000)
    page, month = reverse("share_job", args=[job.pk]), timezone.now() - timedelta(days=1)

    answer = signed_in(alice).post(page, {"team": "", "team_access": "read"})
    assert answer.status_code == 422 and "only an administrator" in answer.content.decode()
    assert ledger.committed_since(month, team=team) == Decimal("0.9")
    teams.share_job(job, team, Access.WORK, alice)  # what it can do may change
    with pytest.raises(caps.NotAllowed, match="more than is left"):
        teams.share_job(job, small, Access.READ, root)
    teams.share_job(job, none, Access.READ, root)
    free = make_job(alice, Job.State.DRAFT, team=team)
    teams.share_job(free, none, Access.READ, alice)  # it has cost nothing
    assert Job.objects.filter(team=None).count() == 2


# --- Roles ----------------------------------------------------------------------------------------


def test_a_role_is_changed_and_who_loses_rights_is_signed_out(
    client_root: Client, bob: User
) -> None:
    path = reverse("person_role", args=[bob.pk])
    client_bob = Client()
    client_bob.force_login(bob)
    client_bob.get("/")
    client_root.post(path, {"role": "administrator"})
    assert role_of(User.objects.get(pk=bob.pk)) == Role.ADMINISTRATOR
    assert client_bob.get("/people/").status_code == 200

    client_root.post(path, {"role": "auditor"})

    bob = User.objects.get(pk=bob.pk)
    assert role_of(bob) == Role.AUDITOR and not bob.is_superuser
    assert client_bob.get("/").status_code == 302
    changes = AuditEntry.objects.filter(event="role_changed", target=f"person {bob.pk}")
    assert [entry.detail.after for entry in changes] == [
        {"role": "administrator"},
        {"role": "auditor"},
    ]


def test_the_last_administrator_stays(client_root: Client, root: User, bob: User) -> None:
    client_root.post(reverse("person_role", args=[root.pk]), {"role": "member"})
    assert "only administrator" in client_root.get("/people/").content.decode()
    with pytest.raises(people.NotPossible):
        people.set_active(root, False, bob)
    assert list(administrators()) == [root]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["role", "active"])
def test_two_clicks_at_once_leave_an_administrator(root: User, how: str) -> None:
    other = person("other", Role.ADMINISTRATOR)
    begin = threading.Barrier(2, timeout=SECONDS)
    refused: list[str] = []

    def take_away(from_: User, by: User) -> None:
        try:
            begin.wait()
            if how == "role":
                people.set_role(from_, Role.MEMBER, by)
            else:
                people.set_active(from_, False, by)
        except people.NotPossible as why:
            refused.append(str(why))
        finally:
            connection.close()

    threads = [
        threading.Thread(target=take_away, args=pair) for pair in ((root, other), (other, root))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert administrators().count() == 1 and len(refused) == 1


# --- Handing over ---------------------------------------------------------------------------------


def test_deactivating_gives_the_jobs_to_a_new_owner(
    make_job: MakeJob, alice: User, bob: User, client_root: Client, client_bob: Client
) -> None:
    job = make_job(alice)
    for owner in (alice, bob):
        Template.objects.create(owner=owner, name="tone", recipe=Recipe("Say {{a}}"))

    client_root.post(f"/people/{alice.pk}/active/", {"active": "no", "new_owner": bob.pk})

    alice.refresh_from_db()
    assert not alice.is_active and not Job.objects.filter(owner=alice).exists()
    assert client_bob.get(f"/jobs/{job.pk}/").status_code == 200
    assert "Handed over to another owner." in job.events.values_list("text", flat=True)
    mine = Template.objects.filter(owner=bob).order_by("pk").values_list("name", flat=True)
    assert list(mine) == ["tone (2)", "tone"]


def test_jobs_are_not_handed_over_while_both_read(
    make_job: MakeJob, alice: User, bob: User, root: User
) -> None:
    for owner in (alice, bob):
        make_job(owner, Job.State.READING, is_being_read=True)
    with pytest.raises(people.NotPossible):
        people.hand_over(alice, bob, root)
    assert Job.objects.filter(owner=alice).count() == 1


def test_jobs_stay_if_no_owner_is_chosen(
    make_job: MakeJob, alice: User, client_root: Client
) -> None:
    make_job(alice)
    client_root.post(f"/people/{alice.pk}/active/", {"active": "no"})
    assert Job.objects.get().owner == alice
    assert teams.teams_to_share_with(alice).count() == 0
