"""Teams with an API key of their own: what is sent with a key is seen to with that key, and one
team's trouble is nobody else's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import anthropic
import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from jobs.actions import api_keys, drafts, submissions, teams
from jobs.batches import absence, batch_keys, late, recovery
from jobs.drafts import estimates, trials
from jobs.models import (
    Access,
    Alarm,
    AuditEntry,
    Batch,
    Job,
    Notification,
    SiteState,
    SubmissionDetail,
    SubmissionEvent,
    Team,
    TeamSending,
    Trial,
    job_keys,
)
from jobs.worker import alarms, deletion, sweep

from ..conftest import Simulator, let_pass, store_job
from ..driven_jobs import RECIPE, Drive, priced
from .test_recovery import a_backup_that_comes_back
from .test_submission import over_without_pauses

SITE = "sk-ant-wrkspc_site-0000000001"
ADS, ADS_RENEWED = "sk-ant-wrkspc_ads-0000000001", "sk-ant-wrkspc_ads-0000000002"
ELSEWHERE = "sk-ant-wrkspc_elsewhere-00000001"
ROWS = [["Ada", "x [simulate:good]"], ["Ben", "y [simulate:good]"]]
SEND = "POST /v1/messages/batches"


@pytest.fixture
def provider(simulator: Simulator, settings: Any) -> Simulator:
    """Two keys that see nothing of each other."""
    settings.PRACTICE, settings.ANTHROPIC_API_KEY = False, SITE
    settings.NEW_KEY_URL, settings.NEW_KEY_IS_LOCAL = simulator.url, True
    # As in test_submission.py.
    settings.SUBMIT_DEADLINE_SECONDS, settings.RECONCILE_GRACE_SECONDS = 1, 1
    return simulator


@pytest.fixture
def ads(provider: Simulator, alice: User, root: User) -> Team:
    team = teams.save_team(None, "Ads", None, [alice], root)
    api_keys.change_of_team(team, root, ADS)
    return Team.objects.get(pk=team.pk)


def draft(owner: User, team: Team | None, rows: list[list[str]] = ROWS) -> Job:
    return store_job(
        owner,
        Job.State.DRAFT,
        rows=rows,
        recipe=RECIPE,
        team=team,
        next_action_at=timezone.now(),
    )


def submitted(owner: User, team: Team | None, rows: list[list[str]] = ROWS) -> Job:
    job = draft(owner, team, rows)
    estimates.estimate_job(job)
    job.refresh_from_db()
    assert submissions.confirm(job, job.plan_sha256, owner)
    return Job.objects.get(pk=job.pk)


def is_at_provider(job: Job) -> bool:
    return job.batches.filter(state=Batch.State.IN_PROGRESS).exists()


def is_held(job: Job) -> bool:
    return bool(job.held)


def sent_to(provider: Simulator) -> dict[str, int]:
    """How many rows each workspace accepted."""
    found: dict[str, int] = {}
    for batch in provider.truth()["batches"]:
        found[batch["workspace"]] = found.get(batch["workspace"], 0) + batch["size"]
    return found


# --- With which key -------------------------------------------------------------------------------


def test_all_of_a_job_is_done_with_the_key_of_its_team(
    alice: User, root: User, provider: Simulator, ads: Team, drive: Drive
) -> None:
    job, other = draft(alice, ads), draft(alice, None)
    for one in (job, other):
        drive(one, until=priced)
    job.refresh_from_db()
    drafts.start_trials(job, list(job.rows.all()[:1]), alice)
    drive(job, until=lambda job: job.trials.filter(answer__gt="").exists())
    job = drive(job, until=priced)
    other.refresh_from_db()
    for one in (job, other):
        assert submissions.confirm(one, one.plan_sha256, alice)
    teams.share_job(job, None, Access.READ, alice)  # it is fixed by now
    assert drive(job).good_count == drive(other).good_count == len(ROWS)
    assert sent_to(provider) == {"wrkspc_ads": 2, "wrkspc_site": 2}
    sent = job.batches.get()
    assert (sent.workspace, sent.key) == ("wrkspc_ads", sent_key(job))
    assert sent_key(job) != sent_key(other)

    assert deletion.begin_deletion(job)
    drive_away(job)

    steps = {
        "POST /v1/messages/count_tokens",
        "POST /v1/messages",
        SEND,
        "GET /v1/messages/batches",
        "GET /v1/messages/batches/ID/results",
    }
    assert steps | {"DELETE /v1/messages/batches/ID"} <= provider.calls(ADS)
    assert steps - {"POST /v1/messages"} <= provider.calls(SITE)
    assert not {"POST /v1/messages", "DELETE /v1/messages/batches/ID"} & provider.calls(SITE)


def sent_key(job: Job) -> str | None:
    return SubmissionEvent.objects.get(job=job, kind="intent").detail.key


def drive_away(job: Job) -> None:
    while Job.objects.filter(pk=job.pk).exists():
        Job.objects.update(next_action_at=timezone.now())
        sweep.sweep()


def test_a_stopped_job_is_canceled_with_the_key_of_its_team(
    alice: User, provider: Simulator, ads: Team, drive: Drive
) -> None:
    provider.faults(stuck=True)
    job = drive(submitted(alice, ads), until=is_at_provider)
    assert submissions.stop_job(job, alice)
    drive(job, until=lambda job: job.batches.exclude(cancel_sent_at=None).exists())
    assert "POST /v1/messages/batches/ID/cancel" in provider.calls(ADS) - provider.calls(SITE)


def test_the_key_is_that_of_the_team_that_a_draft_is_shared_with(
    alice: User, root: User, settings: Any, ads: Team
) -> None:
    without = teams.save_team(None, "Sales", None, [alice], root)
    for team, expected in ((ads, ads.pk), (without, None), (None, None)):
        job = draft(alice, team)
        assert job_keys.team_of_key(job.pk) == expected
        Job.objects.filter(pk=job.pk).update(is_external=True, state=Job.State.WORKING)
        assert job_keys.team_of_key(job.pk) is None, "an imported batch is of the site's key"
    settings.PRACTICE = True
    assert job_keys.team_of_key(draft(alice, ads).pk) is None


# --- A key that is refused ------------------------------------------------------------------------


def test_a_test_is_not_sent_with_the_key_of_a_team_that_it_left_just_now(
    alice: User, provider: Simulator, ads: Team, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = drive(draft(alice, ads), until=priced)
    assert drafts.start_trials(job, list(job.rows.all()), alice)
    answer = trials._answer

    def and_leave(one: Trial) -> None:
        answer(one)
        teams.share_job(job, None, Access.READ, alice)

    monkeypatch.setattr(trials, "_answer", and_leave)
    drive(job, until=lambda job: not job.trials.pending().exists())
    assert "POST /v1/messages" in provider.calls(ADS) & provider.calls(SITE)


def test_nobody_confirms_that_another_account_is_charged_than_was_shown(
    alice: User, root: User, provider: Simulator, drive: Drive
) -> None:
    team = teams.save_team(None, "Ads", None, [alice], root)
    job = drive(draft(alice, team), until=priced)
    shown = job.plan_sha256
    # What the page says is the account of the site; then the team gets a key of its own.
    api_keys.change_of_team(team, root, ADS)
    assert not submissions.confirm(job, shown, alice)
    job = drive(job, until=priced)
    again = job.plan_sha256
    api_keys.remove_of_team(team, root)
    assert not submissions.confirm(job, again, alice)
    job = drive(job, until=priced)
    assert job.plan_sha256 == shown
    api_keys.change_of_team(team, root, ADS)
    job = drive(job, until=priced)
    teams.delete_team(Team.objects.get(pk=team.pk), root)
    assert not submissions.confirm(job, job.plan_sha256, alice)
    job = drive(job, until=priced)
    assert submissions.confirm(job, job.plan_sha256, alice)
    drive(job)
    assert sent_to(provider) == {"wrkspc_site": 2}


def test_a_refused_key_of_one_team_stops_nobody_else(
    alice: User, root: User, provider: Simulator, ads: Team, drive: Drive
) -> None:
    job, other = submitted(alice, ads), submitted(alice, None)
    provider.revoke(ADS)
    drive(job, until=lambda job: bool(SiteState(ads.pk).why_not_sending))
    assert "the API key of team “Ads”" in SiteState(ads.pk).why_not_sending
    assert SiteState().why_not_sending == "" and SiteState().is_paused(ads.pk)
    assert drive(other).good_count == len(ROWS)
    assert SiteState().provider_trouble == ""
    alarms.check()
    assert Alarm.objects.open().get().subject == "Ads"
    told = Notification.objects.filter(event="sending_paused", person=root).get()
    assert told.facts.team == "team “Ads”"
    assert job.events.filter(text__contains="team “Ads”").exists()
    assert not other.events.filter(text__contains="paused").exists()

    provider.revoke()
    assert submissions.resume_sending(job, alice)
    assert drive(job).good_count == len(ROWS)
    assert not TeamSending.objects.get(team=ads).pause
    alarms.check()
    assert not Alarm.objects.open().exists()
    assert sent_to(provider) == {"wrkspc_ads": 2, "wrkspc_site": 2}


def test_a_key_that_cannot_list_keeps_no_other_batch_from_being_collected(
    alice: User, provider: Simulator, ads: Team, drive: Drive
) -> None:
    provider.faults(stuck=True)
    job, other = submitted(alice, ads), submitted(alice, None)
    for one in (job, other):
        drive(one, until=is_at_provider)
    provider.revoke(ADS)
    provider.faults(stuck=False)
    assert drive(other).good_count == len(ROWS)
    drive(job, until=lambda job: "“Ads”" in SiteState(ads.pk).provider_trouble)
    assert SiteState().provider_trouble == ""
    assert not Job.objects.get(pk=job.pk).held, "a key that is refused may be accepted again"
    provider.revoke()
    assert drive(job).good_count == len(ROWS)
    assert SiteState(ads.pk).provider_trouble == ""


# --- A key that is removed or replaced ------------------------------------------------------------


def test_without_its_key_a_running_job_waits_and_says_so(
    alice: User, root: User, provider: Simulator, ads: Team, drive: Drive
) -> None:
    provider.faults(stuck=True)
    job = drive(submitted(alice, ads), until=is_at_provider)
    api_keys.remove_of_team(ads, root)
    job = drive(job, until=is_held)
    assert job.held.startswith(batch_keys.KEY_IS_MISSING) and "team “Ads”" in job.held
    provider.faults(stuck=False)
    for _ in range(3):
        Job.objects.update(next_action_at=timezone.now())
        sweep.sweep()
    assert job.batches.get().state == Batch.State.IN_PROGRESS
    with pytest.raises(teams.KeyInUse):
        teams.delete_team(ads, root)

    api_keys.change_of_team(ads, root, ADS_RENEWED)  # another key of the same workspace
    job = drive(job)

    assert job.good_count == len(ROWS) and not job.held
    assert sent_to(provider) == {"wrkspc_ads": 2}


def test_a_job_that_was_not_sent_yet_is_sent_with_no_other_key(
    alice: User, root: User, provider: Simulator, ads: Team, drive: Drive
) -> None:
    job = submitted(alice, ads)
    api_keys.remove_of_team(ads, root)
    drive(job, until=is_held)
    assert sent_to(provider) == {}
    assert submissions.stop_job(job, alice)
    assert drive(job).state == Job.State.FINISHED, "nothing of it is at the provider"
    assert sent_to(provider) == {}


def test_a_batch_of_another_workspace_is_neither_lost_nor_sent_again(
    alice: User, root: User, provider: Simulator, ads: Team, drive: Drive, settings: Any
) -> None:
    provider.faults(stuck=True)
    job = drive(submitted(alice, ads), until=is_at_provider)
    api_keys.change_of_team(ads, root, ELSEWHERE)
    let_pass(job.batches.all(), timedelta(hours=1))
    job = drive(job, until=is_held)
    assert "now belongs to another workspace" in job.held and "team “Ads”" in job.held
    batch = job.batches.get()
    assert batch.state == Batch.State.IN_PROGRESS and batch.doubts == 0
    assert SEND not in provider.calls(ELSEWHERE)
    provider.faults(stuck=False)
    api_keys.change_of_team(ads, root, ADS_RENEWED)
    job = drive(job)
    assert job.good_count == len(ROWS) and not job.held
    assert sent_to(provider) == {"wrkspc_ads": 2}


def test_results_that_another_workspace_does_not_have_are_not_given_up(
    alice: User, root: User, provider: Simulator, ads: Team, drive: Drive
) -> None:
    provider.faults(stuck=True)
    job = drive(submitted(alice, ads), until=is_at_provider)
    api_keys.change_of_team(ads, root, ELSEWHERE)
    ended = {"state": Batch.State.ENDED, "ended_at": timezone.now()}
    job.batches.update(**ended, next_action_at=timezone.now())
    let_pass(job.batches.all(), timedelta(hours=1))
    job = drive(job, until=is_held)
    assert "now belongs to another workspace" in job.held
    assert job.batches.get().doubt == ""
    provider.faults(stuck=False)
    api_keys.change_of_team(ads, root, ADS)
    assert submissions.resume_job(job, alice)
    assert drive(job).good_count == len(ROWS)


def test_an_unknown_batch_is_not_looked_for_in_another_workspace(
    alice: User, root: User, provider: Simulator, ads: Team, drive: Drive
) -> None:
    """Not even if that has a batch of the same size: it is somebody else's."""
    provider.faults(create=[{"kind": "drop_after_accept"}])
    job = submitted(alice, ads)
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.UNKNOWN).exists())
    api_keys.change_of_team(ads, root, ELSEWHERE)
    create_elsewhere(provider)
    let_pass(job.batches.all(), timedelta(hours=1))
    job = drive(job, until=is_held)
    batch = job.batches.get()
    assert job.held.startswith(batch.why_asked) and "another workspace" in job.held
    assert batch.state == Batch.State.UNKNOWN and batch.provider_id is None
    api_keys.change_of_team(ads, root, ADS)
    job = drive(job, until=over_without_pauses)
    assert job.good_count == len(ROWS) and not job.held
    assert sent_to(provider) == {"wrkspc_ads": 2, "wrkspc_elsewhere": 2}


def create_elsewhere(provider: Simulator) -> None:
    """Another program sends two requests with a key of another workspace."""
    other = anthropic.Anthropic(api_key=ELSEWHERE, base_url=provider.url)
    other.messages.batches.create(
        requests=[
            {
                "custom_id": f"theirs-{number}",
                "params": {
                    "model": "claude-haiku-4-5",
                    "max_tokens": 10,
                    "messages": [{"role": "user", "content": "hello"}],
                },
            }
            for number in range(len(ROWS))
        ]
    )


def test_a_late_batch_is_not_looked_for_in_another_workspace(
    alice: User, root: User, provider: Simulator, ads: Team, drive: Drive
) -> None:
    """What is found late is canceled, so it has to be ours."""
    job = drive(submitted(alice, ads))
    batch = job.batches.get()
    api_keys.change_of_team(ads, root, ELSEWHERE)
    provider.faults(stuck=True)
    create_elsewhere(provider)
    now = timezone.now()
    job.batches.update(late_until=now + timedelta(days=1), baseline_at=now - timedelta(days=1))
    SubmissionEvent.objects.create(
        job=job,
        nonce=batch.nonce,
        kind="never_arrived",
        detail=SubmissionDetail(
            attempt=2,
            begin=(now - timedelta(hours=1)).isoformat(),
            until=(now + timedelta(hours=1)).isoformat(),
            clock="provider",
        ),
    )
    late.look()
    assert not batch.late_ones.exists()
    assert "POST /v1/messages/batches/ID/cancel" not in provider.calls(ELSEWHERE)


def test_a_size_is_taken_in_one_workspace_only(
    alice: User, provider: Simulator, ads: Team, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of one row cannot get another size, so it would wait for the team's key."""
    provider.faults(create=[{"kind": "drop_after_accept"}], list_hide_seconds=600)
    job = submitted(alice, ads, ROWS[:1])
    drive(job, until=lambda job: job.batches.filter(state=Batch.State.UNKNOWN).exists())
    provider.revoke(ADS)
    provider.faults(list_hide_seconds=0)
    assert drive(submitted(alice, None, ROWS[:1])).good_count == 1
    assert absence.of(job.batches.get()).begun


def test_what_went_out_after_the_backup_is_seen_to_with_its_key(
    alice: User, provider: Simulator, ads: Team, drive: Drive
) -> None:
    """In the database that came back the job is a draft."""
    job = drive(draft(alice, ads), until=priced)
    with a_backup_that_comes_back():
        assert submissions.confirm(job, job.plan_sha256, alice)
        drive(job)
    assert Job.objects.get(pk=job.pk).key_team is None
    Job.objects.filter(pk=job.pk).update(team=None)
    (line,) = recovery.restore()
    assert "found at Anthropic" in line
    job = drive(job)
    assert (job.key_team, job.good_count) == (ads.pk, len(ROWS))
    assert sent_to(provider) == {"wrkspc_ads": 2}


def test_a_refused_key_of_a_team_does_not_keep_the_others_from_being_restored(
    alice: User, provider: Simulator, ads: Team, drive: Drive
) -> None:
    jobs = [drive(draft(alice, team), until=priced) for team in (ads, None)]
    with a_backup_that_comes_back():
        for job in jobs:
            assert submissions.confirm(job, job.plan_sha256, alice)
            drive(job)
    provider.revoke(ADS)
    recovery.restore()
    assert not SiteState().journal.is_ahead
    assert drive(jobs[1]).good_count == len(ROWS)
    provider.revoke()
    assert drive(jobs[0]).good_count == len(ROWS)
    assert sent_to(provider) == {"wrkspc_ads": 2, "wrkspc_site": 2}


def test_a_job_whose_key_is_gone_can_be_deleted(
    alice: User, root: User, provider: Simulator, ads: Team, drive: Drive
) -> None:
    job = drive(submitted(alice, ads))
    api_keys.remove_of_team(ads, root)
    teams.delete_team(ads, root)
    assert deletion.begin_deletion(job)
    drive_away(job)
    entry = AuditEntry.objects.filter(event="job_deleted").get()
    assert entry.detail.after["left_at_anthropic"] == 1
    assert "DELETE /v1/messages/batches/ID" not in provider.calls(SITE)
