"""Everything that people can do, at jobs of two sizes: a click and a look do the same work in the
database however many rows a job has. Whoever adds an action has to add it here.

Counted are statements, rows that come back, rows that are changed, and, within transactions, what
SQLite looks at. Not counted is what a download sends: it is the rows.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from jobs import actions
from jobs.actions import accuracy, external_batches, retries, reviews
from jobs.batches import external_ids
from jobs.ingest.shapes import CorrectionFile
from jobs.models import PILOT_IS_IN, Batch, Job, Outcome, Pilot, Trial, audit, files
from jobs.results import review_sample
from jobs.retries import edits, measurements, preparation, problem_groups, rounds, selection
from jobs.rules.pilots import PilotResult
from jobs.rules.recipes import Recipe
from jobs.rules.retry_choices import RetryChoice
from jobs.web.views import audit as audit_page
from jobs.web.views import row_edits
from jobs.worker import row_changes, tally

from ..batches.test_external import in_table, made_elsewhere
from ..conftest import PASSWORD, Simulator, empty_tables, signed_in, store_job
from ..database_work import Work, counted, grown
from ..environment import ROOT
from ..many import finished, many_rows
from ..web.test_security import ARGUMENTS, HX, JOB_PAGES, PAGES, POSTS, in_trouble
from ..web.test_views_draft import READY_MADE, RECIPE, with_price

# Django asks every database for the same.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.no_database]

SIZES = FEW, MANY = 200, 1_200
CAUSE = "overloaded_error"
MODELS = ["claude-haiku-5-5", "claude-sonnet-5-5"]


@pytest.fixture(autouse=True)
def both_sizes_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done at once for few rows is done at once for fewer than there are here."""
    monkeypatch.setattr(row_changes, "AT_ONCE", 50)
    monkeypatch.setattr(row_changes, "COUNTED_AT_ONCE", 50)
    monkeypatch.setattr(selection, "MEASURED_AT_ONCE", 50)
    monkeypatch.setattr(problem_groups, "LOOKED_AT", 50)
    monkeypatch.setattr(problem_groups, "SAMPLE", 50)
    monkeypatch.setattr(row_edits, "LOOKED_AT", 50)
    monkeypatch.setattr(review_sample, "SLICE", 100)


# --- Jobs of any size -----------------------------------------------------------------------------


def draft(owner: User, size: int, **values: Any) -> Job:
    job = store_job(owner, Job.State.DRAFT, **{"prompt": "Say: {{text}}", **values})
    return with_price(many_rows(job, size))


def ready_made(owner: User, size: int) -> Job:
    """A draft of requests that an earlier job has answered."""
    good(owner, size, rows=[READY_MADE])
    return draft(owner, size, rows=[READY_MADE], prompt="")


def corrected(owner: User, size: int) -> Job:
    files.stored_path("corrected").write_bytes(b"")
    return draft(owner, size, corrections=[CorrectionFile("corrected", used=True)])


def tried(owner: User, size: int) -> Job:
    job = draft(owner, size)
    recipe = Recipe("Of {{name}}", "", "claude-haiku-5-5", max_tokens=64)
    Trial.objects.create(
        job=job,
        round=1,
        number=1,
        cells=[["name", "Ada"]],
        params="{}",
        recipe=recipe,
        model="claude-haiku-5-5",
        practice=True,
        state=Trial.State.ANSWERED,
        outcome=Outcome.GOOD,
        answer="Yes.",
    )
    return job


def marked(owner: User, size: int) -> Job:
    """A draft with an answer that is marked down."""
    job = tried(owner, size)
    job.trials.update(marked_down=True)
    return job


def failed(owner: User, size: int) -> Job:
    return finished(owner, size, Outcome.ERRORED, CAUSE)


def edited(owner: User, size: int) -> Job:
    job = failed(owner, size)
    job.edits.bulk_create(
        job.edits.model(job=job, number=number, source='["a", "new"]')
        for number in range(1, size + 1)
    )
    measurements.measure_edits(job)
    return job


def by_hand(owner: User, size: int) -> Job:
    """A few of its rows are edited."""
    job = failed(owner, size)
    for number in (3, size // 2):
        assert edits.edit_row(job.rows.get(number=number), ["a", "new"])
    job.refresh_from_db()
    return job


def requests(owner: User, size: int) -> Job:
    """An imported batch of ready-made requests, which failed."""
    params = {"model": MODELS[0], "max_tokens": 9, "messages": []}
    request = {"custom_id": "a", "params": params}
    job = many_rows(store_job(owner, rows=[request], is_external=True), size)
    job.rows.update(outcome=Outcome.ERRORED, cause=CAUSE)
    Job.objects.filter(pk=job.pk).update(practice=settings.PRACTICE)
    tally.count_up(job)
    job.refresh_from_db()
    return job


def again(owner: User, size: int) -> Job:
    """Half of its rows are sent once more; the others failed for another reason."""
    job = failed(owner, size)
    job.rows.filter(number__gt=size // 2).update(cause="cut_off", outcome=Outcome.LOOK)
    tally.count_up(job)
    job.refresh_from_db()
    assert retries.confirm_retry(job, RetryChoice(CAUSE), key_of(job), owner)
    while preparation.prepare_next(job):
        pass
    tally.count_up(job)
    job.refresh_from_db()
    return job


def alike(owner: User, size: int) -> Job:
    """All rows have a copy of the first one's answer, which is in the sample."""
    job = finished(owner, size, Outcome.GOOD, "", skip_duplicates=True)
    job.rows.update(answer="yes")
    job.rows.filter(number__gt=1).update(same_as=1)
    tally.count_up(job)
    assert reviews.draw_sample(job, 1, owner) == 1
    return job


def edited_and_alike(owner: User, size: int) -> Job:
    """Half of its rows failed and are edited; the others have a copy of one answer, which is in the
    sample."""
    job = finished(owner, size, Outcome.ERRORED, CAUSE, skip_duplicates=True)
    first = size // 2
    job.rows.filter(number__gte=first).update(outcome=Outcome.GOOD, cause="", answer="yes")
    job.rows.filter(number__gt=first).update(same_as=first)
    tally.count_up(job)
    job.refresh_from_db()
    assert reviews.draw_sample(job, 1, owner) == 1
    job.edits.bulk_create(
        job.edits.model(job=job, number=number, source='["a", "new"]') for number in range(1, first)
    )
    measurements.measure_edits(job)
    return job


def good(owner: User, size: int, **values: Any) -> Job:
    job = store_job(owner, **{"prompt": "Say: {{text}}", "practice": True, **values})
    return many_rows(job, size)


def drawn(owner: User, size: int) -> Job:
    """A person writes the right answers for some of its rows."""
    job = good(owner, size)
    assert accuracy.draw_rows(job, 10) == 10
    return job


def archived(owner: User, size: int) -> Job:
    job = good(owner, size)
    Job.objects.filter(pk=job.pk).update(archived_at=timezone.now())
    return job


def trashed(owner: User, size: int) -> Job:
    job = good(owner, size)
    Job.objects.filter(pk=job.pk).update(trashed_at=timezone.now())
    return job


def sent(owner: User, size: int) -> Job:
    """It is under way, with all that can go wrong."""
    job = many_rows(store_job(owner, Job.State.WORKING, rows=[("a", "b")] * 6), size)
    job = in_trouble(job)
    first = job.batches.get(number=1)
    job.rows.all().update(batch=first)
    Batch.objects.filter(pk=first.pk).update(size=size, deadline_at=timezone.now())
    job.refresh_from_db()
    return job


def with_pilot(owner: User, size: int) -> Job:
    """Its pilot is in, and the other rows wait."""
    job = draft(owner, size)
    practice = settings.PRACTICE
    Job.objects.filter(pk=job.pk).update(
        state=Job.State.WORKING, practice=practice, confirmed_at=timezone.now(), held=PILOT_IS_IN
    )
    cost = Decimal("0.01")
    result = PilotResult(100, 99, cost, size - 100, cost, cost)
    numbers = list(range(1, 101))
    Pilot.objects.create(job=job, step=Pilot.Step.WAITING, rows=100, numbers=numbers, result=result)
    job.refresh_from_db()
    return job


def paused(owner: User, size: int) -> Job:
    job = sent(owner, size)
    Job.objects.filter(pk=job.pk).update(state=Job.State.SUBMITTING)
    return job


def brought_in(owner: User, size: int) -> Job:
    """A person is asked which row each result belongs to."""
    job = many_rows(store_job(owner, Job.State.WORKING, is_external=True), size)
    Batch.objects.create(
        job=job,
        number=1,
        size=size,
        nonce="n" * 12,
        state=Batch.State.ENDED,
        is_external=True,
        provider_id="msgbatch_9",
        body_bytes=0,
    )
    Job.objects.filter(pk=job.pk).update(
        held=external_ids.WHICH, ids_may_be=[["column:name", size], ["number:0", size]]
    )
    job.refresh_from_db()
    return job


# --- What people do -------------------------------------------------------------------------------


def file(name: str = "reviews.csv") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, b"name,text\nAda,likes it\n")


def key_of(job: Job, which: str = CAUSE) -> str:
    return rounds.make_plan(job, RetryChoice(which)).key


Given = dict[str, Any]


@dataclass(frozen=True)
class Act:
    address: str
    job: Callable[[User, int], Job]
    given: Callable[[Job], Given] = lambda _job: {}
    does: tuple[str, ...] = ()  # functions of jobs/actions
    args: Callable[[Job], list[Any]] | None = None
    only_shows: bool = False

    def __str__(self) -> str:
        return "+".join([self.address, *self.does])


def trial_pk(job: Job) -> list[Any]:
    return [job.trials.get().pk]


ACTS = [
    # A draft.
    Act("recipe", draft, lambda _: {**RECIPE, "prompt": "Other: {{name}}"}, ("save_recipe",)),
    Act(
        "columns",
        lambda owner, size: draft(owner, size, prompt="Say: {{Gone}}"),
        lambda _: {"name": ["Gone"], "column": ["text"]},
        ("save_recipe",),
    ),
    Act("save_as_template", draft, lambda job: {"name": f"mine {job.pk}"}),
    Act("follow", draft, lambda _: {"on": "yes"}),
    Act("reading", draft, lambda _: {"fill": "1"}, ("change_choices",)),
    Act("reading", corrected, lambda _: {"uncorrected": "1"}, ("undo_corrections",)),
    Act("correct", draft, lambda _: {"file": file()}, ("correct_rows",)),
    Act("replace", draft, lambda _: {"file": file("others.csv")}, ("replace_upload",)),
    Act("start_trials", draft, lambda _: {"count": "3", "which": "random"}, ("start_trials",)),
    Act("use_trial", tried, does=("use_tested_recipe", "save_recipe")),
    Act("use_example", tried, does=("use_as_example", "save_recipe"), args=trial_pk),
    Act("mark_trial", tried, lambda _: {"down": "yes"}, ("mark_trial",), args=trial_pk),
    Act(
        "compare_versions",
        draft,
        lambda _: {"rows": "20", "which": "first", "model": MODELS, "prompt": "1", "seen": "100"},
        ("start_comparison",),
    ),
    Act("improve", marked, lambda _: {"do": "ask"}, ("ask_for_better_prompt",)),
    Act(
        "choose_rows",
        draft,
        lambda _: {"column": ["text"], "operator": ["not_empty"], "value": [""], "sample": "5"},
        ("choose_rows",),
    ),
    Act("reuse_answers", ready_made, lambda _: {"only_new": "on"}, ("reuse_answers",)),
    Act("mark_private", draft, lambda _: {"private": ["1"]}, ("mark_private",)),
    Act("take_advice", draft, lambda _: {"code": "once"}, only_shows=True),
    Act("confirm", draft, lambda job: {"plan_sha256": job.plan_sha256}, ("confirm",)),
    Act("confirm", draft, lambda job: {"plan_sha256": job.plan_sha256, "approval": "ask"}),
    Act(
        "confirm",
        draft,
        lambda job: {"plan_sha256": job.plan_sha256, "first": "yes", "pilot_rows": "100"},
        ("confirm",),
    ),
    # One whose pilot is in.
    Act("continue_job", with_pilot, does=("continue_job",)),
    Act("end_pilot", with_pilot, lambda _: {"again": "yes"}, ("end_pilot",)),
    # One that was sent.
    Act("job_retention", sent, lambda _: {"days": "30"}, ("change_job",)),
    Act("stop", sent, does=("stop_job",)),
    Act("try_again", sent, does=("resume_job",)),
    Act("send_now", paused, does=("resume_sending",)),
    Act("finish_without", sent, does=("give_up_missing_answers",)),
    Act("look_again", sent, does=("look_again",)),
    Act("send_again", sent, does=("send_again",)),
    Act("this_is_it", sent, lambda _: {"provider_id": "msgbatch_000001"}, ("identify_batch",)),
    Act("ids", brought_in, lambda _: {"way": "number:0"}, ("choose_ids",)),
    Act("ids", brought_in, lambda _: {"again": "1", "reading-fill": "on"}, ("read_file_again",)),
    # One that has finished.
    Act("retry", failed, lambda job: {"which": CAUSE, "key": key_of(job)}, ("confirm_retry",)),
    Act(
        "retry",
        edited,
        lambda job: {"which": selection.EDITED, "key": key_of(job, selection.EDITED)},
        ("confirm_retry",),
    ),
    Act("retry", failed, lambda job: {"which": CAUSE, "key": key_of(job), "approval": "ask"}),
    Act(
        "change_prompt",
        failed,
        lambda _: {"prompt": "Say {{text}}", "model": "claude-haiku-5-5", "max_tokens": "99"},
        args=lambda _: [CAUSE],
        only_shows=True,
    ),
    Act("edits", edited, does=("note_changer", "undo_edits")),
    Act("edits", edited, lambda _: {"number": "2"}, ("note_changer", "undo_edits")),
    Act("upload_edits", failed, lambda _: {"file": file()}, ("upload_corrections",)),
    Act(
        "change_rows",
        failed,
        lambda _: {"code": "shorten", "name": "text", "number": "2"},
        ("note_changer", "change_rows"),
        args=lambda _: [CAUSE],
    ),
    Act(
        "ignore_rows",
        failed,
        lambda job: {"rows": job.row_count},
        ("ignore_rows",),
        args=lambda _: [CAUSE],
    ),
    Act("edit_row", failed, lambda _: {"cell": ["a", "new"]}, ("note_changer",)),
    Act("next_step", good, lambda _: {"which": "all"}, ("use_rows",)),
    Act("update_rows", good, does=("update_rows",), only_shows=True),
    Act("rename", good, lambda _: {"name": "other"}, ("rename_job",)),
    Act("share_job", good, lambda _: {"team_access": "read"}),
    Act("archive", good, does=("archive_job",)),
    Act("archive", archived, lambda _: {"undo": "yes"}, ("unarchive_job",)),
    Act("delete", good, does=("trash_job",)),
    Act("delete", good, lambda _: {"now": "yes"}, ("delete_job",)),
    Act("delete", edited, lambda _: {"now": "yes"}, ("delete_job",)),
    Act("restore", trashed, does=("restore_job",)),
    Act("review", good, lambda _: {"size": "20"}, ("draw_sample",)),
    Act("accuracy", good, lambda _: {"gold": "2"}, ("choose_gold",)),
    Act("right_answers", good, lambda _: {"size": "20"}, ("draw_rows",)),
    Act(
        "right_answers",
        drawn,
        lambda job: {"number": str(job.right_answers.earliest("position").number), "right": "no"},
        ("save_right_answer",),
    ),
    Act(
        "mark_answer",
        alike,
        lambda job: {"mark": "bad", "key": review_sample.answer_key(job.rows.get(number=1))},
        ("mark_answer",),
    ),
]
# Of no job: what there is must not make them slow.
OF_NO_JOB: dict[str, Given] = {
    "change_jobs": {"do": "trash", "job": "1"},
    "new_job": {"file": file()},
    "new_sample_job": {"name": "reviews.csv"},
    "new_pasted_job": {"text": "name\ttext\nAda\tlikes it\n"},
    "import_batch": {"provider_id": "msgbatch_000001"},
    "import_batch_look": {},
    "audit_check": {},
    "retention": {"days": "30"},
    "spending_quotas": {"member_rows": "5"},
    "logout": {},
    "password": {},
    "new_team": {"name": "Research"},
    "notifications_read": {},
    "people": {"role": "member"},
    "restored_look": {},
    "restored_seen": {},
    "spending_limits": {"most_a_job": "5"},
    "spending_prices": {},
    "spending_switch": {"stop": "yes"},
    "tour": {"step": "2"},
}


def do(act: Act, owner: User, size: int, called: set[str]) -> Work:
    job = act.job(owner, size)
    args = act.args(job) if act.args else ARGUMENTS.get(act.address, [])
    if act.args is trial_pk:
        args = trial_pk(job)
    address, given = reverse(act.address, args=[job.pk, *args]), act.given(job)
    job.refresh_from_db()
    client = signed_in(owner)
    with pytest.MonkeyPatch.context() as patched, counted() as work:
        for name in act.does:
            patched.setattr(ACTIONS[name], name, noted(name, called))
        answer = client.post(address, given)
    assert answer.status_code in (200, 204, 302), answer.content.decode()[:2_000]
    return work


# What they do grows with no rows.
NOT_OF_ONE_JOB = {
    "api_keys",
    "approvals",
    "erasure",
    "first_account",
    "invitations",
    "notifications",
    "nudges",
    "people",
    "restored_sites",
    "site_limits",
    "stored_files",
    "teams",
}


def find_actions() -> dict[str, ModuleType]:
    """All actions by name, each with its module."""
    modules = [
        importlib.import_module(f"{actions.__name__}.{found.name}")
        for found in pkgutil.iter_modules(actions.__path__)
        if found.name not in NOT_OF_ONE_JOB
    ]
    return {
        name: module
        for module in modules
        for name, one in vars(module).items()
        if inspect.isfunction(one) and one.__module__ == module.__name__ and name[0] != "_"
    }


ACTIONS = find_actions()


def noted(name: str, called: set[str]) -> Callable[..., Any]:
    real = getattr(ACTIONS[name], name)

    def call(*args: Any, **kwargs: Any) -> Any:
        result = real(*args, **kwargs)
        if result or result is None:
            called.add(name)
        return result

    return call


@pytest.mark.parametrize("act", ACTS, ids=str)
def test_a_click_does_the_same_however_many_rows_there_are(
    root: User, settings: Settings, act: Act
) -> None:
    works = []
    for size in SIZES:
        called: set[str] = set()
        works.append(do(act, root, size, called))
        if size == FEW:
            Job.objects.all().delete()
        assert called == set(act.does), "it was refused"
    few, many = works
    assert act.only_shows or many.has_written, "it did nothing"
    assert not many.is_more_than(few), grown(few, many)


def test_what_is_done_of_no_job_does_not_grow_with_them() -> None:
    """Each in turn, at a site that is new for each size."""
    found: dict[str, list[Work]] = {}
    for size in SIZES:
        root = User.objects.create_superuser("root", password=PASSWORD)
        good(root, size).delete()
        failed(root, size)
        for name, given in OF_NO_JOB.items():
            client = signed_in(root)
            with counted() as work:
                answer = client.post(reverse(name), given)
            assert answer.status_code < 500, name
            for value in given.values():
                if isinstance(value, SimpleUploadedFile):
                    value.seek(0)
            found.setdefault(name, []).append(work)
        empty_tables()
        cache.clear()
    for name, works in found.items():
        few, many = works
        assert not many.is_more_than(few), f"{name}: {grown(few, many)}"


def test_bringing_in_a_batch_leaves_its_rows_to_the_worker(
    root: User, simulator: Simulator
) -> None:
    works = []
    for size in SIZES:
        ids = [f"r{number}" for number in range(size)]
        batch_id, upload = made_elsewhere(simulator, ids), in_table([["id"], *([i] for i in ids)])
        with counted() as work:
            assert external_batches.import_batch(root, batch_id, upload)
        works.append(work)
    few, many = works
    assert not many.is_more_than(few), grown(few, many)


# --- What people look at --------------------------------------------------------------------------

LOOKS = [name for name, methods in JOB_PAGES.items() if not methods or "GET" in methods]
JOBS = {
    "draft": draft,
    "sent": sent,
    "failed": failed,
    "edited": edited_and_alike,
    "by hand": by_hand,
    "requests": requests,
    "again": again,
}


# Of some jobs only what is said of problems differs.
OF_PROBLEMS = ["job", "problems", "edits", "retry", "change_prompt", "ignore_rows", "row"]
LOOKED_AT = {"by hand": OF_PROBLEMS, "requests": OF_PROBLEMS, "again": OF_PROBLEMS}
# Tabs, filters and orders, of these kinds. A search without an index is bounded by its time.
QUERIED = ("failed", "edited")
QUERIES = {
    "job": ["?tab=problems", "?tab=cost", "?tab=details"],
    "retry": [f"?which={CAUSE}", f"?which={selection.EDITED}"],
    "rows": [
        "?to=end",
        "?outcome=attention&sort=-cost",
        "?outcome=good&to=end",
        "?outcome=errored&sort=-output&to=end",
        f"?cause={CAUSE}&sort=cause",
    ],
    "row": ["?outcome=attention&sort=-cost"],
    "review": ["?list=1"],
}
PAGES_BESIDE = "failed"  # the pages of no job are looked at with this one, and with one to send


@pytest.mark.parametrize("kind", JOBS)
def test_a_look_asks_for_the_same_however_many_rows_there_are(root: User, kind: str) -> None:
    found: dict[str, list[Work]] = {}
    for _ in range(audit_page.PAGE + 1):  # looks are entries, too; so its page is full already
        audit.record("signed_in", who=root)
    for size in SIZES:
        job = JOBS[kind](root, size)
        client = signed_in(root)
        # Half of the parts of pages; with the next kind it is the others.
        for place, name in enumerate(LOOKED_AT.get(kind, LOOKS), list(JOBS).index(kind)):
            args = [CAUSE] if name in ("change_prompt", "ignore_rows") else ARGUMENTS.get(name, [])
            address = reverse(name, args=[job.pk, *args])
            looks: list[tuple[str, dict[str, str]]] = [("", {})]
            if kind in QUERIED:
                looks += ((query, {}) for query in QUERIES.get(name, ()))
            for query, headers in [*looks, ("", HX)] if place % 2 else looks:
                with counted(all_steps=True) as work:
                    answer = client.get(f"{address}{query}", headers=headers)
                assert answer.status_code < 500
                if answer.streaming:
                    answer.close()
                found.setdefault(f"{name}{query} {headers}", []).append(work)
        beside = draft(root, size) if kind == PAGES_BESIDE else None
        for name in PAGES if beside else ():
            with counted(all_steps=True) as work:
                client.get(reverse(name))
            found.setdefault(name, []).append(work)
        job.delete()
        if beside:
            beside.delete()
    more = {}
    for name, works in found.items():
        few, many = works
        more[name] = many.is_more_than(few)
    assert not any(more.values()), "\n".join(f"{one}: {what}" for one, what in more.items() if what)


# Of the actions, those that change nothing.
ASKS = {"are_rows_changing", "can_be_used", "can_compare", "require_rows"}


# --- All of them ----------------------------------------------------------------------------------


def test_every_action_is_here() -> None:
    """An action that is added has to be bounded, too: add it to ACTS or OF_NO_JOB."""
    elsewhere = {"create_job", "import_batch", "change_site"}  # above, by themselves
    assert ACTIONS.keys() - ASKS - elsewhere == {name for act in ACTS for name in act.does}


def test_every_address_that_takes_a_post_is_here() -> None:
    posts = {name for name, methods in JOB_PAGES.items() if "POST" in methods}
    assert posts == {act.address for act in ACTS}
    # tests/web/test_security.py holds these lists and jobs/web/urls.py together. What is missing
    # here, of accounts and kept recipes, asks for no job.
    # A key is tested at the provider before it is stored.
    assert {*OF_NO_JOB, "api_key"} == {*POSTS}


def test_the_command_changes_jobs_by_the_same_actions() -> None:
    """What `manage.py job` calls is bounded above."""
    sources = [ROOT / "jobs/management/commands/job.py", *(ROOT / "jobs/cli").glob("*.py")]
    known = {name for act in ACTS for name in act.does} | {"create_job", "import_batch"}
    modules = {module.__name__.rpartition(".")[2] for module in ACTIONS.values()}
    called = set()
    for path in sources:
        tree = ast.parse(path.read_text())
        called |= {
            node.func.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if ast.unparse(node.func.value) in modules
        }
        source = ast.unparse(tree)
        assert not [w for w in (".update(", ".save(", ".delete(", ".create(") if w in source], path
    assert called
    assert called <= known | ASKS
