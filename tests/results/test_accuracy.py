"""The answers of jobs beside the right ones, from the click to the file, and versions of a prompt
compared on them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs.actions import accuracy as acting
from jobs.actions import reviews, uploads
from jobs.batches import leases
from jobs.drafts import estimates, templates
from jobs.models import Difference, GoldStandard, Job, Outcome, SpendingCaps, Trial, privacy
from jobs.results import accuracy, review_sample, versions
from jobs.rules.answer_formats import AnswerColumn, AnswerKind
from jobs.rules.recipes import Recipe
from jobs.rules.right_answers import GoldChoice
from jobs.web.views import comparisons
from jobs.worker import retention
from jobs.worker.advance import advance

from ..conftest import Simulator, change_job, store_job
from ..driven_jobs import confirmed, joined
from ..environment import ROOT

Drive = Callable[..., Job]
MOODS = AnswerKind("labels", labels=("positive", "neutral", "negative"))
RECIPE = Recipe("What is the mood of this? {{text}}", "", "claude-haiku-5-5", 300, answer=MOODS)
GOLD = GoldChoice((("", "name"),))
REVIEWS = ROOT / "tests" / "data" / "reviews-0.5" / "reviews.csv"


def read_reviews() -> list[list[str]]:
    """Sentences that people rated, each with the mood that the ratings stand for."""
    with REVIEWS.open(encoding="utf-8") as file:
        return [[mood_of(float(one["rating"])), one["review"]] for one in csv.DictReader(file)]


def mood_of(rating: float) -> str:
    if abs(rating) < 0.5:
        return "neutral"
    return "positive" if rating > 0 else "negative"


def compared(job: Job) -> GoldStandard:
    """What the worker's next turn finds."""
    assert Job.objects.due(timezone.now()).filter(pk=job.pk).exists(), "nobody is told to look"
    advance(job.pk)
    gold = GoldStandard.objects.get(job=job)
    assert gold.is_current(Job.objects.get(pk=job.pk))
    return gold


def a_job(owner: User, rows: list[list[str]], said: list[str], kind: AnswerKind = MOODS) -> Job:
    outcomes = [{"outcome": Outcome.GOOD, "answer": answer} for answer in said]
    return store_job(owner, rows=rows, outcomes=outcomes, answer=kind, prompt="{{text}}?")


def test_a_job_is_as_accurate_as_scikit_learn_says(
    alice: User, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    """Real reviews through the simulator, which answers by a few words of a text and is wrong often
    enough."""
    from sklearn import metrics  # only here: every process imports this file, and it takes seconds

    reviews_read = read_reviews()
    # A good word and a bad one make no difference to the mood.
    prompt = "[simulate:good] or bad? {{text}}"
    job = drive(confirmed(alice, reviews_read, replace(RECIPE, prompt=prompt)))
    assert acting.choose_gold(job, GOLD)
    found = compared(job).compared
    assert found is not None
    [one] = found.columns
    header, *lines = joined(job)
    answers = header.index("answer")
    right, said = [line[0] for line in lines], [line[answers] for line in lines]
    order = [label.label for label in one.labels]

    assert order == list(MOODS.labels)
    assert (one.compared, found.unanswered) == (len(reviews_read), 0)
    assert one.accuracy == metrics.accuracy_score(right, said)
    assert one.kappa == pytest.approx(metrics.cohen_kappa_score(right, said))
    # Neither chance nor all right: then nothing would be put to the test.
    assert one.kappa is not None and 0.2 < one.kappa < 0.8
    table_of_sklearn = metrics.confusion_matrix(right, said, labels=order)
    assert [list(line) for line in one.confusion] == table_of_sklearn.tolist()
    precision, recall, *_ = metrics.precision_recall_fscore_support(right, said, labels=order)
    assert [label.precision for label in one.labels] == pytest.approx(list(precision))
    assert [label.recall for label in one.labels] == pytest.approx(list(recall))

    pairs = list(zip(right, said, strict=True))
    different = [n for n, (gold, answer) in enumerate(pairs, 1) if gold != answer]
    assert list(Difference.objects.order_by("number").values_list("number", flat=True)) == different
    assert header[-1] == "matches"
    assert [n for n, line in enumerate(lines, 1) if line[-1] == "no"] == different

    out = StringIO()
    call_command("job", "accuracy", str(job.pk), "--gold", "name", "--json", stdout=out)
    facts = json.loads(out.getvalue())
    assert facts["compared"] == len(pairs) and facts["correct"] == one.correct
    assert facts["confusion"] == table_of_sklearn.tolist() and facts["order"] == order
    assert facts["labels"]["positive"]["rows"] == right.count("positive")
    assert set(facts) >= {"accuracy", "low", "high", "kappa"}
    page = client_alice.get(reverse("accuracy", args=[job.pk])).content.decode()
    assert f"{one.correct}</span> of" in page


# --- What is counted ------------------------------------------------------------------------------


def test_rows_without_an_answer_are_counted_apart(alice: User, client_alice: Client) -> None:
    rows = [["positive", "a"], ["negative", "b"], ["", "c"], ["neutral", "d"], ["positive", "e"]]
    good: dict[str, str] = {"outcome": Outcome.GOOD, "answer": "positive"}
    outcomes: list[dict[str, str]] = [
        good,
        {"outcome": Outcome.ERRORED},
        good,
        good,
        {"outcome": Outcome.LEFT_OUT},
    ]
    job = store_job(alice, rows=rows, outcomes=outcomes, answer=MOODS)
    assert acting.choose_gold(job, GOLD)
    found = compared(job).compared
    assert found is not None
    one = found.columns[0]
    assert (found.rows, found.unanswered, found.different) == (3, 1, 1)
    assert (one.compared, one.correct) == (2, 1)
    page = client_alice.get(reverse("accuracy", args=[job.pk])).content.decode()
    assert "1 row has a right answer, but no good answer from Claude" in page


def test_each_column_of_an_answer_is_compared_by_itself(alice: User) -> None:
    kind = AnswerKind("columns", (), (AnswerColumn("mood"), AnswerColumn("price", "number")))
    rows = [["good", "3"], ["BAD ", "1,234"], ["bad", "5"]]
    said = [{"mood": "Good", "price": 3.5}, {"mood": "bad", "price": 7}, {"mood": "ok", "price": 5}]
    job = a_job(alice, rows, list(map(json.dumps, said)), kind)
    choice = GoldChoice((("mood", "name"), ("price", "text")), tolerance="0.5")
    assert acting.choose_gold(job, choice)
    found = compared(job).compared
    assert found is not None
    mood, price = found.columns
    assert (mood.compared, mood.correct) == (3, 2)
    assert (price.compared, price.correct, price.unreadable, price.mean_error) == (2, 2, 1, "0.25")
    assert found.different == 1
    *_, last = joined(job)
    assert last[-1] == "no"
    out = StringIO()
    gold = ["--gold", "mood=name", "--gold", "price=text", "--tolerance", "0.5"]
    call_command("job", "accuracy", str(job.pk), *gold, "--json", stdout=out)
    facts = json.loads(out.getvalue())
    assert facts["correct"] == 2 and facts["columns"]["price"]["mean_error"] == 0.25


def test_it_is_worked_out_anew_when_answers_change(alice: User, client_alice: Client) -> None:
    job = a_job(alice, [["positive", "a"], ["negative", "b"]], ["positive", "positive"])
    assert acting.choose_gold(job, GOLD)
    page = reverse("accuracy", args=[job.pk])
    assert "We are comparing the answers" in client_alice.get(page).content.decode()
    assert compared(job).compared.different == 1  # type: ignore[union-attr]  # it is there
    key = review_sample.answer_key(job.rows.get(number=1))
    assert reviews.draw_sample(job, 10, alice) == 2
    assert reviews.mark_answer(job, 1, key, False, "", alice)
    job.refresh_from_db()
    assert not GoldStandard.objects.get().is_current(job)
    Job.objects.filter(pk=job.pk).update(next_action_at=timezone.now())
    # An answer that a person marks down is an answer all the same.
    assert compared(job).compared.columns[0].correct == 1  # type: ignore[union-attr]
    assert acting.choose_gold(job, GoldChoice())
    compared(job)
    assert not Difference.objects.exists() and joined(job)[0][-1] != "matches"


def test_answers_are_compared_as_soon_as_a_job_finishes(
    alice: User, simulator: Simulator, drive: Drive
) -> None:
    job = confirmed(alice, [["positive", "excellent [simulate:good]"]], RECIPE)
    assert acting.choose_gold(job, GOLD)
    job = drive(job)
    assert GoldStandard.objects.get(job=job).is_current(job)


def test_a_large_job_is_not_compared_for_each_mark(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accuracy, "LARGE", 1)
    job = a_job(alice, [["positive", "a"], ["negative", "b"]], ["positive", "positive"])
    assert acting.choose_gold(job, GOLD)
    compared(job)
    Job.objects.filter(pk=job.pk).update(rows_version=99, next_action_at=timezone.now())
    job.refresh_from_db()
    lease = leases.claim(job.pk)
    assert lease is not None
    assert accuracy.compare_if_due(job, lease) is not None
    GoldStandard.objects.update(compared_at=timezone.now() - accuracy.AGAIN)
    assert accuracy.compare_if_due(job, lease) is None
    assert GoldStandard.objects.get().is_current(job)


def test_a_choice_changes_nothing_that_is_sent(alice: User) -> None:
    job = store_job(alice, Job.State.DRAFT)
    before = (job.recipe, job.plan_sha256, job.estimate)
    assert acting.choose_gold(job, GOLD)
    assert not acting.choose_gold(job, GOLD), "it is so already"
    job.refresh_from_db()
    assert (job.recipe, job.plan_sha256, job.estimate) == before


def test_templates_and_later_jobs_take_the_choice_along(alice: User) -> None:
    job = store_job(alice, Job.State.DRAFT)
    by_hand = GoldChoice((("", "name"),), True)
    assert acting.choose_gold(job, by_hand)
    gold = templates.gold_columns(job)
    assert gold == GOLD, "what people write for one file is not for another"
    templates.save_template(alice, "Moods", RECIPE, shared=False, gold=gold)
    template = alice.template_set.get()
    for asked in ((str(template.pk), ""), ("", str(job.pk))):
        start = templates.find_start(alice, *asked)
        assert start is not None
        new = uploads.create_job(alice, ContentFile(b"NAME,text\na,b\n", "n.csv"), start=start)
        assert GoldStandard.objects.get(job=new).choice == GOLD


def test_a_prompt_with_the_right_answer_is_warned_of(alice: User, client_alice: Client) -> None:
    job = store_job(alice, Job.State.DRAFT, prompt="{{text}} {{name}}")
    assert acting.choose_gold(job, GOLD)
    for name in ("accuracy", "compare_versions"):
        page = client_alice.get(reverse(name, args=[job.pk])).content.decode()
        assert "Claude sees the right answers" in page
    change_job(job, prompt="{{text}}")
    page = client_alice.get(reverse("accuracy", args=[job.pk])).content.decode()
    assert "Claude sees" not in page


# --- Who sees what --------------------------------------------------------------------------------


def test_a_private_column_of_right_answers_is_masked(
    alice: User, client_alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = a_job(alice, [["S3CRET", "a"], ["negative", "b"]], ["positive", "negative"])
    Job.objects.filter(pk=job.pk).update(private_columns=["name"])
    assert acting.choose_gold(job, GOLD)
    compared(job)
    paths = ["", "accuracy/", "accuracy/differences/", "rows/?differs=1", "rows/1/", "problems/"]
    paths += ["review/", "download/csv/", "download/jsonl/"]

    def read(path: str) -> str:
        answer = client_alice.get(f"/jobs/{job.pk}/{path}", follow=True)
        return b"".join(answer).decode()

    assert "S3CRET" in read("accuracy/") and "S3CRET" in read("accuracy/differences/")
    assert "50%</span> right" in read("accuracy/") and "50% right" in read("")
    monkeypatch.setattr(privacy, "sees_private", lambda user, job: False)
    for path in paths:
        text = read(path)
        assert "S3CRET" not in text, path
        assert "Differs" not in text and "that differ" not in text, path
    # Nor by which rows match: of two labels that tells the cell.
    assert "matches" not in read("download/csv/") and "matches" not in read("download/jsonl/")
    # Nor by how many: if all are right, each cell is known.
    assert "50%</span> right" not in read("accuracy/") and "50% right" not in read("")
    assert "Only people who can work on this job" in read("accuracy/")


def test_claudes_answer_is_hidden_until_the_right_one_is_written(
    alice: User, client_alice: Client
) -> None:
    rows = [[f"n{number}", f"Text {number}"] for number in range(12)]
    job = a_job(alice, rows, ["HIDDEN"] * 12, AnswerKind())
    page = reverse("right_answers", args=[job.pk])
    assert client_alice.post(page, {"size": "10"}).status_code == 302
    drawn = list(job.right_answers.values_list("number", flat=True))
    assert len(drawn) == 10
    shown = client_alice.get(page).content.decode()
    assert "HIDDEN" not in shown and f"Text {drawn[0] - 1}" in shown
    assert "HIDDEN" not in client_alice.get(f"{page}?saved={drawn[0]}").content.decode()
    client_alice.post(page, {"number": str(drawn[0]), "right": " "})
    assert not job.right_answers.exclude(written_at=None).exists(), "nothing was written"

    client_alice.post(page, {"number": str(drawn[0]), "right": "hidden"})
    assert "HIDDEN" in client_alice.get(f"{page}?saved={drawn[0]}").content.decode()
    client_alice.post(page, {"number": str(drawn[0]), "right": "other"})
    assert job.right_answers.get(number=drawn[0]).values == {"": "hidden"}, "the first one holds"
    client_alice.post(page, {"number": str(drawn[1]), "right": "other"})
    client_alice.post(page, {"number": str(drawn[2]), "skip": "yes", "right": "other"})
    found = compared(job).compared
    assert found is not None
    assert (found.rows, found.columns[0].compared, found.columns[0].correct) == (2, 2, 1)
    assert "HIDDEN" not in client_alice.get(page).content.decode()


def test_what_was_typed_stays_when_it_cannot_be_saved(alice: User, client_alice: Client) -> None:
    columns = AnswerColumn("why"), AnswerColumn("stars", "number"), AnswerColumn("good", "yes_no")
    said = ['{"why": "HIDDEN", "stars": 5, "good": true}'] * 12
    job = a_job(alice, [["n", "Text"]] * 12, said, AnswerKind("columns", columns=columns))
    page = reverse("right_answers", args=[job.pk])
    client_alice.post(page, {"size": "10"})
    number = str(job.right_answers.earliest("position").number)
    typed = {"number": number, "right": ["It <b> boils", "many", "no"]}

    refused = client_alice.post(page, typed)
    shown = refused.content.decode()
    assert refused.status_code == 422 and shown.count("Write a number, such as 3.5.") == 1
    assert "It &lt;b&gt; boils</textarea>" in shown and 'value="many"' in shown
    assert "<option selected>no</option>" in shown and "HIDDEN" not in shown
    assert f'name="number" value="{number}"' in shown
    nothing = client_alice.post(page, {"number": number, "right": ["", " ", ""]})
    assert nothing.status_code == 422
    assert "Write the right answer first." in nothing.content.decode()
    assert not job.right_answers.exclude(written_at=None).exists()

    # What was typed for one row is never shown beside another one.
    client_alice.post(page, {"number": number, "right": ["It boils", "4", "no"]})
    for given in (typed, {**typed, "number": "999"}, {**typed, "number": ""}):
        late = client_alice.post(page, given)
        assert late.status_code == 302
        assert "many" not in client_alice.get(page).content.decode()


def test_deleting_contents_leaves_numbers_only(alice: User) -> None:
    job = a_job(alice, [["S3CRET", "a"], ["negative", "b"]], ["positive", "negative"])
    assert acting.choose_gold(job, GOLD)
    assert "S3CRET" in repr(compared(job).compared)
    Job.objects.filter(pk=job.pk).update(contents_deleted_at=timezone.now())
    Job.objects.filter(pk=job.pk).update(next_action_at=timezone.now())
    lease = leases.claim(job.pk)
    assert lease is not None
    retention.delete_contents(Job.objects.get(pk=job.pk), lease)
    gold = GoldStandard.objects.get()
    assert gold.compared and "S3CRET" not in repr(gold.compared)
    assert gold.compared.columns[0].accuracy == 0.5 and not Difference.objects.exists()


def test_right_answers_beyond_all_numbers_are_compared(alice: User, client_alice: Client) -> None:
    kind = AnswerKind("columns", columns=(AnswerColumn("n", "number"),))
    rows = [["1e999", "a"], ["-1e-999", "b"], ["5", "c"]]
    said = ['{"n": 1}', '{"n": 1}', f'{{"n": 1{"0" * 4_000}}}']
    job = a_job(alice, rows, said, kind)
    assert acting.choose_gold(job, GoldChoice((("n", "name"),)))
    compared(job)
    for path in ("", "differences/"):
        assert client_alice.get(f"/jobs/{job.pk}/accuracy/{path}").status_code == 200
    out = StringIO()
    call_command("job", "accuracy", str(job.pk), "--json", stdout=out)
    assert "Infinity" not in out.getvalue() and json.loads(out.getvalue())["correct"] == 0


@pytest.mark.parametrize("seen", ["9e999999", "1e30", "-1", "NaN", "sNaN", "Infinity", "", "x"])
def test_a_test_starts_only_at_the_price_that_was_shown(
    alice: User, client_alice: Client, simulator: Simulator, seen: str
) -> None:
    job = store_job(alice, Job.State.DRAFT, rows=[["n", f"t{at}"] for at in range(25)])
    estimates.estimate_job(job)
    given = {"rows": "20", "which": "first", "prompt": "1", "seen": seen}
    models = ["claude-haiku-5-5", "claude-sonnet-5-5"]
    page = reverse("compare_versions", args=[job.pk])
    assert client_alice.post(page, {**given, "model": models}).status_code == 302
    assert not Trial.objects.exists()


# --- Versions -------------------------------------------------------------------------------------


def test_models_are_compared_on_the_rows_with_a_right_answer(
    alice: User, client_alice: Client, simulator: Simulator, drive: Drive
) -> None:
    rows = [
        ["positive" if number < 25 else "", f"{number} is excellent [simulate:good]"]
        for number in range(30)
    ]
    job = store_job(alice, Job.State.DRAFT, rows=rows, recipe=RECIPE)
    assert acting.choose_gold(job, GOLD)
    estimates.estimate_job(job)
    page = reverse("compare_versions", args=[job.pk])
    models = ["claude-haiku-5-5", "claude-sonnet-5-5"]
    asked = {"rows": "20", "which": "gold", "model": models, "prompt": "1"}
    shown = client_alice.get(page, asked)
    assert "Compare 2 versions" in shown.content.decode()
    most = shown.context["most"]
    client_alice.post(page, {**asked, "seen": "0.0001"})
    assert not job.trials.exists(), "it costs more than was seen"
    client_alice.post(page, {**asked, "seen": str(most)})
    assert job.trials.count() == 40
    drive(job, until=lambda job: not job.trials.pending().exists())

    [found] = versions.list_comparisons(job, GOLD)
    assert [one.rows for one in found.versions] == [20, 20]
    assert all(one.correct == one.compared == 20 for one in found.versions)
    assert found.cheapest is not None
    assert found.versions[found.cheapest].model == "claude-haiku-5-5"
    haiku = Trial.objects.filter(model="claude-haiku-5-5")
    paid = sum((one.cost for one in haiku), Decimal(0))
    assert found.versions[0].cost_of_1000 == paid / 20 * 1000 / 2  # a batch costs half
    assert "is also the cheapest" in comparisons.conclusion(found)
    text = client_alice.get(page).content.decode()
    assert "Best value" in text and "100%" in text
    # They teach the price, and are not in the grid of the draft.
    assert not job.trials.of_rows().exists() and job.trials.to_learn_from().count() == 40


def test_rows_to_compare_on_are_spread_over_the_first_with_a_right_answer(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "SLICE", 10)
    monkeypatch.setattr(versions, "LOOKED_AT", 60)
    rows = [["positive" if number % 3 == 0 else " ", "a"] for number in range(1, 81)]
    outcomes = [Outcome.LEFT_OUT if number == 3 else Outcome.WAITING for number in range(1, 81)]
    job = store_job(alice, Job.State.DRAFT, rows=rows, outcomes=outcomes, recipe=RECIPE)

    def found(count: int) -> list[int]:
        return [row.number for row in versions.rows_with_gold(job, GOLD, count)]

    assert found(19) == list(range(6, 61, 3)), "nobody waits for more than LOOKED_AT rows"
    assert found(1) == [6]
    assert found(2) == found(2) == [6, 24]
    assert not versions.rows_with_gold(job, GoldChoice(), 5)


def trial(job: Job, round_: int, number: int, model: str, answer: str, cost: int) -> Trial:
    return Trial(
        job=job,
        round=round_,
        compared_from=1,
        purpose=Trial.Purpose.COMPARE,
        number=number,
        cells=[],
        params="{}",
        recipe=RECIPE,
        model=model,
        practice=True,
        answer_kind=MOODS,
        state=Trial.State.ANSWERED,
        outcome=Outcome.GOOD if answer else Outcome.LOOK,
        answer=answer,
        cost_pico=cost,
    )


def test_the_cheapest_that_is_as_good_is_named(alice: User) -> None:
    job = store_job(alice, Job.State.DRAFT, rows=[["positive", "a"]] * 40, recipe=RECIPE)
    wrong = {"claude-opus-5-5": 0, "claude-sonnet-5-5": 3, "claude-haiku-5-5": 20}
    costs = {"claude-opus-5-5": 9, "claude-sonnet-5-5": 3, "claude-haiku-5-5": 1}
    Trial.objects.bulk_create(
        trial(job, at, number, model, "negative" if number <= wrong[model] else "positive", cost)
        for at, (model, cost) in enumerate(costs.items(), 1)
        for number in range(1, 41)
    )
    [found] = versions.list_comparisons(job, GOLD)
    assert [one.changed for one in found.versions] == [None, 3, 20]
    assert (found.best, found.cheapest, found.as_good) == (0, 1, frozenset({0, 1}))
    assert "is the cheapest that is as good as" in comparisons.conclusion(found)
    # What has no good answer is no right answer: who fails often is not as good.
    Trial.objects.filter(model="claude-sonnet-5-5", number__lte=10).update(
        outcome=Outcome.LOOK, cause="refused", answer=""
    )
    [found] = versions.list_comparisons(job, GOLD)
    assert found.versions[1].correct == found.versions[1].compared == 30
    assert found.cheapest == 0
    assert "No cheaper version is as good" in comparisons.conclusion(found)


def test_two_tests_beside_each_other_say_how_many_are_right(
    alice: User, client_alice: Client
) -> None:
    job = store_job(alice, Job.State.DRAFT, rows=[["positive", "a"]] * 3, recipe=RECIPE)
    for round_, answer in ((1, "negative"), (2, "positive")):
        for number in (1, 2, 3):
            said = "positive" if number == 1 else answer
            one = trial(job, round_, number, "claude-haiku-5-5", said, 1)
            one.purpose, one.compared_from = Trial.Purpose.ROW, 0
            one.save()
    assert acting.choose_gold(job, GOLD)
    page = client_alice.get(reverse("compare", args=[job.pk])).content.decode()
    assert "1 of 3 right" in page and "3 of 3 right" in page


def test_a_comparison_passes_the_gates(alice: User, client_alice: Client) -> None:
    job = store_job(alice, Job.State.DRAFT, rows=[["positive", "a"]] * 30, recipe=RECIPE)
    SpendingCaps.objects.update(stopped_at=timezone.now())
    page = reverse("compare_versions", args=[job.pk])
    asked = {"rows": "20", "which": "first", "model": ["claude-haiku-5-5", "claude-opus-5-5"]}
    shown = client_alice.post(page, {**asked, "prompt": "1", "seen": "99"}, follow=True)
    assert "Nothing was sent" in shown.content.decode() and not job.trials.exists()
    one = {**asked, "model": ["claude-haiku-5-5"], "prompt": "1"}
    assert "Choose a second model" in client_alice.get(page, one).content.decode()
    few = {**asked, "rows": "19", "prompt": "1"}
    assert "greater than or equal to 20" in client_alice.get(page, few).content.decode()
