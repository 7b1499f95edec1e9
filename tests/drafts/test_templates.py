"""What was written once is used again: templates, jobs that are run again, and columns that another
file calls something else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.urls import reverse

from jobs.actions import uploads
from jobs.cli import worker_waits
from jobs.drafts import templates
from jobs.models import Job, Template, recipe_of
from jobs.rules import column_matching
from jobs.rules.answer_formats import LABELS, AnswerKind
from jobs.rules.recipes import Recipe, rename_columns, with_example
from jobs.worker import sweep

from ..cli.test_job_command import refusal, run
from ..conftest import Simulator, change_job
from ..pages import squeezed
from ..web.test_views_draft import RECIPE

MakeJob = Callable[..., Job]
Drive = Callable[..., Job]
HX = {"HX-Request": "true"}
MODEL = "claude-sonnet-5-5"
SORT = Recipe(
    prompt="Sort {{text}} of {{name}}.",
    system="Be strict.",
    model=MODEL,
    max_tokens=7777,
    answer=AnswerKind(LABELS, labels=("good", "bad")),
    effort="low",
    cached=True,
    skip_empty=True,
)


def text(client: Client, path: str, status: int = 200, **options: Any) -> str:
    """The page that comes in the end, as it is read."""
    answer = client.get(path, follow=True, **options)
    assert answer.status_code == status
    return squeezed(answer.content)


def kept(
    owner: User, name: str = "Sort", recipe: Recipe = SORT, *, shared: bool = False
) -> Template:
    templates.save_template(owner, name, recipe, shared=shared)
    return Template.objects.get(owner=owner, name=name)


def upload(content: str = "name,text\nAda,hello\n", **fields: object) -> dict[str, Any]:
    return {"file": SimpleUploadedFile("new.csv", content.encode()), **fields}


# --- Names of columns -----------------------------------------------------------------------------


@pytest.mark.no_database
@pytest.mark.parametrize(
    ("template", "renamed"),
    [
        ("{{a}} {{b}} {{ a }}", "{{b}} {{a}} {{b}}"),
        (r"\{{a}} {{a}}", r"\{{a}} {{b}}"),
        ("{{A}} {{a b}} a {a} {{a", "{{A}} {{a b}} a {a} {{a"),
        ("{{{a}}} {{}}", "{{{b}}} {{}}"),
        (r"{{a}}\1 {{0}}", r"{{b}}\1 {{0}}"),
    ],
)
def test_columns_are_renamed_in_one_pass_and_nothing_else_is(template: str, renamed: str) -> None:
    assert rename_columns(template, {"a": "b", "b": "a"}) == renamed


@pytest.mark.no_database
@pytest.mark.parametrize(
    ("prompt", "columns", "found"),
    [
        ("{{Review_Text}} {{id}}", ["id", "review text"], {"Review_Text": "review text"}),
        ("{{a}} {{STRASSE}}", ["A", "straße"], {"a": "A", "STRASSE": "straße"}),
        ("{{a}}", ["a", "A"], {}),
        # Not sure, so not done: two columns, two names, a column that is used, a name too many.
        ("{{a_b}}", ["A B", "ab"], {}),
        ("{{a_b}} {{AB}}", ["A B"], {}),
        ("{{a}} {{A}}", ["a"], {}),
        ("{{a}} {{x}}", ["A", "y"], {}),
        ("{{_}}", ["__"], {}),
    ],
)
def test_names_that_are_the_same_but_for_their_spelling_are_found(
    prompt: str, columns: list[str], found: dict[str, str]
) -> None:
    assert column_matching.same_columns(replace(SORT, prompt=prompt), columns) == found


@pytest.mark.no_database
def test_long_names_that_begin_alike_are_not_the_same() -> None:
    begin = (
        "On a scale from one to ten, how likely are you to recommend this product to a friend? " * 2
    )
    recipe = replace(SORT, prompt=f"{{{{{begin}[A]}}}}", system="")
    assert column_matching.same_columns(recipe, [f"{begin}[B]", "id"]) == {}
    assert column_matching.likely_columns([f"{begin}[A]"], ["id", f"{begin}[B]"]) == {
        f"{begin}[A]": f"{begin}[B]"
    }, "but a guess that is asked about"


@pytest.mark.no_database
def test_a_guess_takes_each_column_once_and_equal_names_first() -> None:
    missing = ["reviews", "REVIEW", "xyz", "_"]
    assert column_matching.likely_columns(missing, ["review", "review_2", "stars"]) == {
        "REVIEW": "review",
        "reviews": "review_2",
    }


# --- Keeping --------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [Job.State.DRAFT, Job.State.FINISHED])
def test_a_recipe_is_kept_whole(
    make_job: MakeJob, alice: User, client_alice: Client, state: str
) -> None:
    job = make_job(alice, state, name="May reviews")
    Job.objects.filter(pk=job.pk).update(**templates.Start(SORT).values)
    address = reverse("save_as_template", args=[job.pk])
    assert address in text(client_alice, f"/jobs/{job.pk}/") or state == Job.State.DRAFT

    page = text(client_alice, address)
    assert 'value="May reviews"' in page and "already" not in page
    client_alice.post(address, {"name": " Sort ", "shared": "on"})

    template = Template.objects.get()
    assert (template.owner, template.name, template.shared) == (alice, "Sort", True)
    assert templates.template_recipe(template) == SORT


def test_examples_from_somebodys_rows_are_named_before_they_are_shared(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice, Job.State.DRAFT)
    address = reverse("save_as_template", args=[job.pk])
    assert "of your file" not in text(client_alice, address)
    system = with_example("Be strict.", [("name", "Ada"), ("text", "secret")], "good")
    change_job(job, system=with_example(system, [("name", "Ben")], "bad"))
    page = text(client_alice, address)
    assert "2 rows of your file are in it, with their answers" in page


def test_the_draft_is_saved_before_it_is_kept(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice, Job.State.DRAFT)
    assert 'name="save_as_template"' in text(client_alice, f"/jobs/{job.pk}/")
    typed = {**RECIPE, "prompt": "New {{text}}", "save_as_template": "yes"}
    answer = client_alice.post(reverse("recipe", args=[job.pk]), typed)
    assert answer.headers["Location"] == reverse("save_as_template", args=[job.pk])
    job.refresh_from_db()
    assert job.recipe.prompt == "New {{text}}"


def test_a_template_is_replaced_only_when_that_was_said(
    make_job: MakeJob, alice: User, bob: User, client_alice: Client
) -> None:
    mine, theirs = kept(alice, "Same", shared=True), kept(bob, "Same", shared=True)
    job = make_job(alice, prompt="Other {{text}}", name="Same")
    address = reverse("save_as_template", args=[job.pk])
    assert "You already have a template “Same”" in text(client_alice, address)

    for values in ({"name": "Same"}, {"name": "Same", "replaces": "Other"}, {"name": ""}):
        asked = client_alice.post(address, values)
        assert asked.status_code == 422
        page = squeezed(asked.content)
        assert ("You already have a template “Same”" in page) is bool(values["name"])
        assert " checked" in page or not values["name"], "it stays shared unless it is said"
    assert templates.template_recipe(Template.objects.get(pk=mine.pk)) == SORT

    client_alice.post(address, {"name": "Same", "replaces": "Same"})
    now = Template.objects.get(owner=alice)
    assert (now.pk, now.recipe.prompt, now.shared) == (mine.pk, "Other {{text}}", False)
    assert templates.template_recipe(Template.objects.get(pk=theirs.pk)) == SORT


def test_what_has_no_prompt_is_not_kept(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    empty = make_job(alice, Job.State.DRAFT, prompt=" \n")
    request = {"custom_id": "a", "params": {"model": "m", "max_tokens": 1, "messages": []}}
    for job in (empty, make_job(alice, rows=[request]), make_job(alice, Job.State.READING)):
        address = reverse("save_as_template", args=[job.pk])
        assert client_alice.get(address).status_code == 302
        assert client_alice.post(address, {"name": "x"}).status_code == 302
    assert not Template.objects.exists()


def test_a_recipe_that_was_kept_by_an_older_version_is_read(alice: User) -> None:
    old = {"prompt": "{{a}}", "system": "", "model": MODEL, "max_tokens": 5}
    templates.save_template(alice, "old", SORT, shared=False)
    with connection.cursor() as cursor:
        stored = json.dumps({**old, "gone": 1})
        cursor.execute("UPDATE jobs_template SET recipe = %s", [stored])
    assert Template.objects.get().recipe == Recipe("{{a}}", "", MODEL, 5)


# --- The list, and what can be done ---------------------------------------------------------------


def test_who_sees_and_changes_which(alice: User, bob: User, root: User) -> None:
    kept(alice, "private")
    kept(alice, "shared", shared=True)
    kept(bob, "bob's")

    def names(found: Any) -> set[str]:
        return {template.name for template in found}

    everyone = {alice: {"private", "shared"}, bob: {"shared", "bob's"}, root: {"shared"}}
    for user, seen in everyone.items():
        assert names(Template.objects.visible_to(user)) == seen
        changeable = {"bob's"} if user == bob else seen
        assert names(Template.objects.changeable_by(user)) == changeable


def test_the_list_says_what_each_is_for(
    alice: User, bob: User, client_alice: Client, client_bob: Client
) -> None:
    assert "a new file of the same kind every week" in text(client_alice, "/templates/")
    mine, theirs = kept(alice, "Zulu"), kept(bob, "Alpha", shared=True)
    kept(alice, "golf")
    kept(bob, "Bob's secret")

    page = text(client_alice, "/templates/")

    assert (
        page.index("golf")
        < page.index("Zulu")
        < page.index("Shared by others")
        < page.index("Alpha")
    )
    assert ">bob<" in page and "Bob's secret" not in page
    assert ">Label<" in page and "Claude Sonnet 5.5" in page and ">text<" in page
    assert "Sort {{text}} of {{name}}." in page and "Be strict." in page
    for template, mine_too in ((mine, True), (theirs, False)):
        assert f"/jobs/new/?template={template.pk}" in page
        assert (reverse("template_delete", args=[template.pk]) in page) is mine_too


def test_its_owner_renames_shares_and_deletes_it(alice: User, client_alice: Client) -> None:
    template, other = kept(alice), kept(alice, "Other")

    def act(what: str, **values: str) -> str:
        path = reverse(f"template_{what}", args=[template.pk])
        return squeezed(client_alice.post(path, values, follow=True).content)

    assert "already have a template “Other”" in act("rename", name="Other")
    assert "needs a name" in act("rename", name=" ")
    assert "Renamed to “New”" in act("rename", name="New")
    for shared in (True, False):
        act("share", shared="yes" if shared else "no")
        template.refresh_from_db()
        assert (template.name, template.shared) == ("New", shared)
    assert "Delete the template “New”?" in text(
        client_alice, reverse("template_delete", args=[template.pk])
    )
    assert Template.objects.count() == 2
    act("delete")
    assert list(Template.objects.all()) == [other]


def test_others_only_start_with_it_but_for_administrators(
    alice: User, client_bob: Client, client_root: Client
) -> None:
    shared, private = kept(alice, shared=True), kept(alice, "Private")
    acts: list[tuple[str, dict[str, str]]] = [
        ("rename", {"name": "Mine"}),
        ("share", {"shared": "no"}),
        ("delete", {}),
    ]
    for client, template in ((client_bob, shared), (client_bob, private), (client_root, private)):
        for name, values in acts:
            path = reverse(f"template_{name}", args=[template.pk])
            assert client.post(path, values).status_code == 404
    assert set(Template.objects.values_list("name", "shared")) == {("Sort", 1), ("Private", 0)}
    for name, values in (acts[0], acts[2]):
        path = reverse(f"template_{name}", args=[shared.pk])
        assert client_root.post(path, values).status_code == 302
    assert list(Template.objects.all()) == [private]


# --- Starting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, HX])
def test_a_job_starts_with_a_template(
    alice: User, bob: User, client_alice: Client, headers: dict[str, str]
) -> None:
    template = kept(bob, shared=True)
    kept(bob, "Bob's secret")
    page = text(client_alice, "/jobs/new/")
    assert "Sort (bob)" in page and "secret" not in page
    page = text(client_alice, f"/jobs/new/?template={template.pk}")
    assert "Sort {{text}}" in page and "Claude Sonnet 5.5" in page
    for way in ("", "&paste="):
        page = text(client_alice, f"/jobs/new/?template={template.pk}{way}")
        assert page.count(f'name="template" value="{template.pk}"') == 1

    client_alice.post("/jobs/new/", upload(template=template.pk), headers=headers)
    client_alice.post("/jobs/new/pasted/", {"cells": "name\ttext", "template": template.pk})

    for job in Job.objects.all():
        assert (job.owner, recipe_of(job), job.template) == (alice, SORT, template)
        assert "Started from the template “Sort”." in [event.text for event in job.events.all()]
    assert Job.objects.count() == 2
    template.delete()
    assert Job.objects.filter(template=None).count() == 2


def test_a_job_is_run_again_on_a_new_file(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    first = make_job(alice, name="April")
    Job.objects.filter(pk=first.pk).update(**templates.Start(SORT).values)
    again = f"/jobs/new/?like={first.pk}"
    assert again in text(client_alice, f"/jobs/{first.pk}/")
    page = text(client_alice, again)
    assert "April" in page and "Sort {{text}}" in page and 'name="like"' in page

    client_alice.post("/jobs/new/", upload(like=first.pk))

    job = Job.objects.latest("pk")
    assert (recipe_of(job), job.previous, job.template) == (SORT, first, None)
    Job.objects.filter(pk=job.pk).update(state=Job.State.DRAFT)
    page = text(client_alice, f"/jobs/{job.pk}/")
    assert f'<a href="/jobs/{first.pk}/">job {first.pk}</a>' in page


@pytest.mark.parametrize("headers", [{}, HX])
def test_what_cannot_be_started_with_is_said_and_nothing_is_made(
    make_job: MakeJob, alice: User, bob: User, client_alice: Client, headers: dict[str, str]
) -> None:
    private = kept(bob).pk
    theirs, empty = make_job(bob), make_job(alice, prompt="")
    gone = make_job(alice, Job.State.DELETING)
    jobs = Job.objects.count()
    starts: list[dict[str, Any]] = [
        *({"template": value} for value in (private, "x", "-1", "9" * 19, "9" * 5000, "²", "a\0")),
        *({"like": value} for value in (theirs.pk, empty.pk, gone.pk, "x", "9" * 19)),
    ]
    for start in starts:
        shown = client_alice.get("/jobs/new/", start, headers=headers)
        refused = client_alice.post("/jobs/new/", upload(**start), headers=headers)
        pasted = client_alice.post("/jobs/new/pasted/", {"cells": "a\tb", **start}, follow=True)
        statuses = (shown.status_code, refused.status_code, pasted.status_code)
        assert statuses == (200, 422, 200), start
        for page in (shown, refused, pasted):
            assert "no longer exists" in page.content.decode(), start
            assert 'type="hidden" name="template"' not in page.content.decode()
    assert Job.objects.count() == jobs


def test_a_model_that_is_not_offered_any_more_is_for_the_person_to_change(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    job = make_job(alice, Job.State.DRAFT)
    start = templates.Start(replace(SORT, model="claude-gone"))
    Job.objects.filter(pk=job.pk).update(**start.values)
    assert "claude-gone is no longer offered" in text(client_alice, f"/jobs/{job.pk}/")


# --- A file with other columns --------------------------------------------------------------------


def read(owner: User, drive: Drive, content: bytes, prompt: str) -> Job:
    start = templates.Start(replace(SORT, prompt=prompt, system="For {{name}}"))
    job = uploads.create_job(owner, ContentFile(content, "new.csv"), start=start)
    return drive(job, until=lambda job: job.state != Job.State.READING)


def test_columns_that_are_only_written_otherwise_are_renamed_when_the_file_is_read(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    job = read(alice, drive, b"Name,TEXT x\nAda,hello\n", r"{{text_x}} \{{name}} {{Name}}")

    assert (job.recipe.prompt, job.recipe.system) == (
        r"{{text_x}} \{{name}} {{Name}}",
        "For {{name}}",
    ), "the column Name is used already, so name is not sure"
    job = read(alice, drive, b"Name,TEXT x\nAda,hello\n", r"{{text_x}} \{{name}}")

    assert (job.recipe.prompt, job.recipe.system) == (r"{{TEXT x}} \{{name}}", "For {{Name}}")
    assert recipe_of(job).answer == SORT.answer
    page = text(client_alice, f"/jobs/{job.pk}/")
    assert "The prompt now uses {{TEXT x}} instead of {{text_x}}" in page
    assert "Match the columns" not in page


def test_a_prompt_that_ready_made_requests_do_not_use_is_mentioned(
    alice: User, client_alice: Client, drive: Drive
) -> None:
    params = {
        "model": MODEL,
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "Hello"}],
    }
    line = json.dumps({"custom_id": "a", "params": params}).encode()
    job = read(alice, drive, line, "{{text}}")
    assert job.kind == Job.Kind.REQUESTS
    assert "Your prompt is not used" in text(client_alice, f"/jobs/{job.pk}/")


@pytest.fixture
def other_columns(make_job: MakeJob, alice: User) -> Job:
    """A draft whose prompt was written for another file."""
    return make_job(
        alice,
        Job.State.DRAFT,
        columns=("nr", "review_body", "Stars"),
        rows=[("1", "", "five"), ("2", "Lovely", "one")],
        prompt=r"Sort {{review}} \{{review}} ({{mood}})",
        system="{{review}} of {{nr}}",
        readings=1,
    )


def test_the_draft_says_which_columns_its_file_does_not_have(
    other_columns: Job, client_alice: Client
) -> None:
    address = reverse("columns", args=[other_columns.pk])
    page = text(client_alice, f"/jobs/{other_columns.pk}/")
    assert "The prompt uses 2 columns that this file does not have" in page and address in page

    def typed(prompt: str) -> str:
        path = reverse("recipe", args=[other_columns.pk])
        answer = client_alice.post(path, {**RECIPE, "prompt": prompt}, headers=HX)
        return answer.content.decode()

    Job.objects.filter(pk=other_columns.pk).update(readings=0)
    assert "columns that this file does not have" not in text(
        client_alice, f"/jobs/{other_columns.pk}/"
    ), "a slip of the pen in the first prompt is named beside it"
    Job.objects.filter(pk=other_columns.pk).update(readings=1)
    part = typed("{{nr}} {{mood}}")
    assert '<div id="match" hx-swap-oob="true">' in part and "uses 1 column that" in part
    for settled in ("{{nr}}", "{{nr}} {{review_body}} {{Stars}} {{mood}}"):
        part = typed(settled)
        assert '<div id="match" hx-swap-oob="true" hidden>' in part and address not in part


def test_columns_are_matched(other_columns: Job, client_alice: Client) -> None:
    address = reverse("columns", args=[other_columns.pk])
    page = text(client_alice, address)
    assert '<option value="review_body" selected>review_body – Lovely</option>' in page
    assert page.count("selected") == 1 and "{{mood}}" in page and "{{nr}}" not in page

    names = {"name": ["review", "mood"], "column": ["review_body", ""]}
    client_alice.post(address, names)
    other_columns.refresh_from_db()
    assert other_columns.recipe.prompt == r"Sort {{review_body}} \{{review}} ({{mood}})"
    assert other_columns.recipe.system == "{{review_body}} of {{nr}}"
    assert other_columns.plan_sha256 == "" and other_columns.next_action_at

    client_alice.post(address, {"name": "mood", "column": "Stars"})
    other_columns.refresh_from_db()
    assert other_columns.recipe.prompt == r"Sort {{review_body}} \{{review}} ({{Stars}})"
    assert client_alice.get(address).headers["Location"] == f"/jobs/{other_columns.pk}/"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"name": "review"},
        {"name": "review", "column": "no such column"},
        {"name": "nr", "column": "Stars"},
        {"name": "no such name", "column": "Stars"},
        {"name": "{{mood}}", "column": "Stars"},
        {"name": "review\0", "column": "\0"},
    ],
)
def test_nonsense_matches_nothing(
    other_columns: Job, client_alice: Client, values: dict[str, str]
) -> None:
    address = reverse("columns", args=[other_columns.pk])
    assert client_alice.post(address, values).status_code == 302
    before = recipe_of(other_columns)
    other_columns.refresh_from_db()
    assert recipe_of(other_columns) == before


def test_a_job_that_was_sent_is_not_matched_any_more(
    other_columns: Job, client_alice: Client
) -> None:
    Job.objects.filter(pk=other_columns.pk).update(state=Job.State.SUBMITTING)
    address = reverse("columns", args=[other_columns.pk])
    client_alice.post(address, {"name": "review", "column": "Stars"})
    assert client_alice.get(address).status_code == 302
    assert recipe_of(Job.objects.get()) == recipe_of(other_columns)


def test_very_many_names_make_no_very_long_page(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    prompt = "".join(f"{{{{column {number}}}}}" for number in range(5_000))
    job = make_job(alice, Job.State.DRAFT, prompt=prompt)
    page = text(client_alice, reverse("columns", args=[job.pk]))
    assert page.count("<select") == 30 and "4,970 more after these" in page


# --- From the shell -------------------------------------------------------------------------------


def test_the_command_lists_templates(alice: User, root: User) -> None:
    template = kept(alice, shared=True)
    kept(root, "Mine", replace(SORT, prompt="none", answer=AnswerKind()))

    out, _ = run("templates", "--json")

    assert json.loads(out)[1] == {
        "name": "Sort",
        "owner": "alice",
        "shared": True,
        "model": MODEL,
        "columns": ["text", "name"],
        "answer": "labels",
        "changed_at": template.changed_at.isoformat(),
    }
    assert run("templates")[0].splitlines() == [
        f"Mine  (root, not shared)  {MODEL}  needs: no column",
        f"Sort  (alice, shared)  {MODEL}  needs: text, name",
    ]


def test_submit_starts_with_a_template_and_what_is_said_beside_it(
    root: User, alice: User, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _seconds: sweep.sweep())
    monkeypatch.setattr(worker_waits, "time", clock)
    kept(alice, shared=True)
    own = kept(root, recipe=replace(SORT, system="My own."))
    path = tmp_path / "new.csv"
    path.write_text("NAME,Text\nAda,hello\n")

    _, err = run("submit", path, "--template", "Sort", "--max-tokens", "30", "--yes")

    job = Job.objects.get()
    said = replace(SORT, prompt="Sort {{Text}} of {{NAME}}.", system="My own.", max_tokens=30)
    assert (recipe_of(job), job.template) == (said, own)
    assert "The prompt now uses {{Text}} instead of {{text}}" in err


def test_submit_refuses_a_template_that_it_cannot_find(
    root: User, alice: User, bob: User, tmp_path: Path
) -> None:
    path = tmp_path / "new.csv"
    path.write_text("name,text\nAda,hello\n")
    kept(alice, "Sort reviews", shared=True)
    kept(alice, "Sort revue")
    for user in (alice, bob):
        kept(user, "Both", shared=True)

    def refused(name: str) -> tuple[int, str]:
        return refusal("submit", path, "--template", name, "--yes")

    assert refused("sort revue") == (
        2,
        "root has no template “sort revue”, and none is shared. Did you mean “Sort reviews”?",
    )
    assert refused("xyz")[1].endswith("`job templates` lists all.")
    assert refused("Both")[1].startswith("More than one template is called “Both”: alice and bob")
    assert not Job.objects.exists()
