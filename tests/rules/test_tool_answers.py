"""A request that forces one tool gets its answer as the input of that tool: it is good, in columns,
in every finished file, and is not offered to be paid again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import openpyxl
import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.test import Client

from jobs.actions import external_batches, reviews
from jobs.batches import collection, result_rows
from jobs.models import Job, Outcome, answer_shape_of, files
from jobs.results import statistics, table, workbook
from jobs.retries import problem_groups
from jobs.rules.judging import GOOD, LOOK, Judgment, judge_result
from jobs.rules.result_lines import read_line
from jobs.rules.tool_answers import MOST_COLUMNS, columns_of, forced_tool, input_text

from ..conftest import Simulator, lease_of, sent
from ..driven_jobs import Drive, joined

MakeJob = Callable[..., Job]

WEATHER = {
    "name": "get_weather",
    "input_schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "degrees": {"type": "number", "minimum": -90},
            "dry": {"type": "boolean"},
            "words": {"type": "array", "items": {"type": "string"}},
            "wind": {"type": "object", "properties": {"from": {"type": "string"}}},
        },
    },
}
PERSON = {
    "name": "note_person",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "mood": {"enum": ["glad", "sad"]}},
    },
}
FORCED = {"type": "tool", "name": "get_weather"}


def request_of(custom_id: str, text: str, **params: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    usual = {"model": "claude-haiku-4-5", "max_tokens": 500, "messages": messages}
    return {"custom_id": custom_id, "params": {**usual, **params}}


def line_of(content: list[dict[str, Any]], stop_reason: str = "tool_use") -> bytes:
    message = {"model": "claude-haiku-4-5", "content": content, "stop_reason": stop_reason}
    result = {"type": "succeeded", "message": {**message, "usage": {"output_tokens": 9}}}
    return json.dumps({"custom_id": "a-1", "result": result}).encode()


def call(found: Any, name: str = "get_weather") -> dict[str, Any]:
    return {"type": "tool_use", "id": "toolu_1", "name": name, "input": found}


def judged(
    content: list[dict[str, Any]], tool: str | None = "get_weather", stop: str = "tool_use"
) -> Judgment:
    return judge_result(read_line(line_of(content, stop)).result, tool=tool)


# --- What counts as an answer ---------------------------------------------------------------------


def test_the_input_of_the_forced_tool_is_the_answer() -> None:
    found = judged([{"type": "thinking", "thinking": "..."}, call({"city": "Zürich", "n": 1.50})])
    assert (found.outcome, found.cause) == (GOOD, "")
    assert found.answer == '{"city": "Zürich", "n": 1.5}'
    assert found.stop_reason == "tool_use"


TEXT = {"type": "text", "text": "I look."}
CALL = call({"city": "Rome"})
INPUT = '{"city": "Rome"}'


@pytest.mark.parametrize(
    ("content", "tool", "stop", "cause", "answer"),
    [
        ([CALL], "", "tool_use", "unfinished", INPUT),
        ([CALL], "another", "tool_use", "unfinished", INPUT),
        ([TEXT, CALL], "get_weather", "tool_use", "unfinished", f"I look.\n{INPUT}"),
        ([CALL, CALL], "get_weather", "tool_use", "unfinished", f"{INPUT}\n{INPUT}"),
        ([CALL, CALL], None, "tool_use", "unfinished", f"{INPUT}\n{INPUT}"),
        ([TEXT, CALL], None, "tool_use", "unfinished", f"I look.\n{INPUT}"),
        ([CALL], "get_weather", "max_tokens", "cut_off", INPUT),
        ([CALL], "get_weather", "refusal", "refused", ""),
        ([CALL], "get_weather", "compaction", "unexpected", INPUT),
        ([call(None)], "get_weather", "tool_use", "unfinished", "null"),
        ([], "get_weather", "tool_use", "unfinished", ""),
    ],
)
def test_anything_else_is_judged_as_before_and_loses_nothing(
    content: list[dict[str, Any]], tool: str | None, stop: str, cause: str, answer: str
) -> None:
    found = judged(content, tool, stop)
    assert (found.outcome, found.cause, found.answer) == (LOOK, cause, answer)


def test_of_an_unknown_request_one_call_without_a_word_is_an_answer() -> None:
    assert judged([CALL], None).outcome == GOOD


def test_which_tools_were_called_is_said() -> None:
    found = judged([CALL, call({}, "other")], "")
    assert found.message == "Claude called get_weather, other."


def test_blocks_of_other_types_may_have_anything_in_these_fields() -> None:
    odd = {"type": "new", "name": {"a": 1}, "input": ["x"]}
    assert judged([odd, {"type": "text", "text": "Hi"}], stop="end_turn").answer == "Hi"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (rb'{"a": "\u00e9"}', '{"a": "é"}'),
        (b'{"a": 12345678901234567890123}', '{"a": 12345678901234567890123}'),
        (b'{"a": 1e999}', '{"a": 1e999}'),
        (b'{"a": 1, "a": 2}', '{"a": 1, "a": 2}'),
        (rb'{"a": "\ud800"}', '{"a": "?"}'),
        (b'{"a":' + b"[" * 90_000 + b"]" * 90_000 + b"}", None),
    ],
)
def test_inputs_are_stored_as_what_they_say(raw: bytes, text: str | None) -> None:
    assert input_text(raw) == (raw.decode() if text is None else text)


@pytest.mark.parametrize(
    ("choice", "tools", "forced"),
    [
        (FORCED, [WEATHER], "get_weather"),
        (FORCED, [PERSON, WEATHER], "get_weather"),
        ({"type": "any"}, [WEATHER], "get_weather"),
        ({"type": "any"}, [WEATHER, PERSON], ""),
        ({"type": "auto"}, [WEATHER], ""),
        (None, [WEATHER], ""),
        (FORCED, [PERSON], ""),
        ({"type": "tool", "name": "bash"}, [{"type": "bash_20250124", "name": "bash"}], ""),
        ({"type": "tool", "name": 5}, [{**WEATHER, "name": 5}], ""),
        ("any", "x", ""),
    ],
)
def test_which_requests_force_a_tool(choice: Any, tools: Any, forced: str) -> None:
    assert forced_tool({"tool_choice": choice, "tools": tools}) == forced


def test_columns_are_those_of_the_schema_and_of_the_answer() -> None:
    params = {"tool_choice": FORCED, "tools": [WEATHER]}
    columns = list(columns_of(params, {"more": True, "city": "Rome", "": 1, "x" * 200: 1}))
    kinds = {column.name: column.kind for column in columns}
    assert list(kinds) == ["city", "degrees", "dry", "words", "wind", "more"]
    assert [*kinds.values()] == ["text", "number", "yes_no", "list", "text", "yes_no"]


# --- Whole jobs -----------------------------------------------------------------------------------


def cells_of(job: Job, folder: Path) -> list[list[Any]]:
    path = folder / "rows.xlsx"
    workbook.write_workbook(job, path)
    sheet = openpyxl.load_workbook(path)["Rows"]
    return [[cell.value for cell in line] for line in sheet.iter_rows()]


def objects(job: Job) -> list[dict[str, Any]]:
    return [json.loads(line) for line in b"".join(table.jsonl_chunks(job)).splitlines()]


@pytest.fixture
def mixed_tools(make_job: MakeJob, alice: User, drive: Drive, simulator: Simulator) -> Job:
    rows = [
        request_of("a", "How is it in Rome?", tools=[WEATHER], tool_choice=FORCED),
        request_of("b", "Who is glad?", tools=[PERSON], tool_choice={"type": "any"}),
        request_of("c", "Say something."),
        request_of("d", "Too long [simulate:cut]", tools=[WEATHER], tool_choice=FORCED),
    ]
    return sent(make_job, alice, drive, rows, prompt="", model="")


def test_forced_tools_fill_columns_in_every_file(mixed_tools: Job, tmp_path: Path) -> None:
    job = mixed_tools
    assert (job.good_count, job.attention_count) == (3, 1)
    names = ["city", "degrees", "dry", "words", "wind", "mood"]
    assert answer_shape_of(job).column_names == names
    header, *lines = joined(job)
    place = {name: header.index(name) for name in [*names, "answer", "status"]}
    assert header[: len(names) + 1] == ["custom_id", *names]
    sheet_header, *sheet = cells_of(job, tmp_path)
    assert sheet_header == header
    first, second, third, fourth = objects(job)
    values = first["answer"]
    assert set(values) == {"city", "degrees", "dry", "words", "wind"}
    assert isinstance(values["wind"], dict) and isinstance(values["dry"], bool)
    expected = [
        values["city"],
        str(values["degrees"]),
        "yes" if values["dry"] else "no",
        "; ".join(values["words"]),
        json.dumps(values["wind"], ensure_ascii=False),
        "",
    ]
    assert [lines[0][place[name]] for name in names] == expected
    typed = [sheet[0][place[name]] for name in names]
    assert typed[:3] == [values["city"], values["degrees"], values["dry"]]
    assert typed[3:] == [*expected[3:5], None]
    assert lines[0][place["answer"]] == "" and lines[0][place["status"]] == "Good"
    assert set(second["answer"]) == {"city", "mood"}
    assert lines[1][place["mood"]] == sheet[1][place["mood"]] == second["answer"]["mood"]
    assert lines[2][place["answer"]] == sheet[2][place["answer"]] == third["answer"]
    # What was cut off is there as far as it came, to be looked at.
    assert fourth["cause"] == "cut_off"
    assert json.loads(lines[3][place["answer"]]) == json.loads(fourth["answer"])
    assert [lines[3][place[name]] for name in names] == [""] * len(names)


def test_what_is_good_is_not_offered_to_be_paid_again(mixed_tools: Job) -> None:
    assert [group.name for group in problem_groups.find_groups(mixed_tools)] == ["cut_off"]


def test_pages_show_the_columns(mixed_tools: Job, client_alice: Client) -> None:
    city = objects(mixed_tools)[0]["answer"]["city"]
    for path in ("rows/", "rows/1/", "rows/3/"):
        page = client_alice.get(f"/jobs/{mixed_tools.pk}/{path}").content.decode()
        assert ("degrees" in page) == (path != "rows/3/")
    assert client_alice.get(f"/jobs/{mixed_tools.pk}/").status_code == 200
    page = client_alice.get(f"/jobs/{mixed_tools.pk}/rows/1/").content.decode()
    assert city.split(":")[0] in page
    assert client_alice.get(f"/jobs/{mixed_tools.pk}/rows/", {"q": "Practice"}).status_code == 200
    reviews.draw_sample(mixed_tools, 10, mixed_tools.owner)
    assert client_alice.get(f"/jobs/{mixed_tools.pk}/review/?list=1").status_code == 200


def test_what_is_not_of_its_kind_is_summed_up_as_something_else(
    make_job: MakeJob, alice: User
) -> None:
    answers = ['{"degrees": 5, "mood": "glad"}', '{"degrees": "five", "mood": ["x"]}', "{}"]
    columns = [{"name": "degrees", "kind": "number"}, {"name": "mood", "kind": "choice"}]
    row = {"outcome": Outcome.GOOD, "stop_reason": "tool_use"}
    job = make_job(
        alice,
        rows=[request_of(str(number), "x") for number in range(3)],
        outcomes=[{**row, "answer": answer} for answer in answers],
        answer_columns=columns,
    )
    lease = lease_of(job)
    statistics.count_answers(job, lease)
    job.refresh_from_db()
    summary = job.answers
    assert summary is not None
    assert [(one.others, one.empty) for one in summary.columns] == [(1, 1), (1, 1)]


def test_an_input_with_more_than_columns_hold_stays_whole(
    make_job: MakeJob, alice: User, tmp_path: Path
) -> None:
    values = {f"key {number}": number for number in range(MOST_COLUMNS + 1)}
    row = {"outcome": Outcome.GOOD, "stop_reason": "tool_use", "answer": json.dumps(values)}
    columns = [{"name": name, "kind": "number"} for name in list(values)[:MOST_COLUMNS]]
    job = make_job(alice, rows=[request_of("a", "x")], outcomes=[row], answer_columns=columns)
    header, line = joined(job)
    assert json.loads(line[header.index("answer")]) == values
    assert cells_of(job, tmp_path)[1][header.index("answer")] == row["answer"]
    assert objects(job)[0]["answer"] == values


def test_a_batch_made_elsewhere_without_a_file_has_columns_from_its_answers(
    root: User, simulator: Simulator, drive: Drive
) -> None:
    requests: Any = [
        request_of("x", "Rome?", tools=[WEATHER], tool_choice=FORCED),
        request_of("y", "Words."),
    ]
    client = anthropic.Anthropic(api_key="another program", base_url=simulator.url)
    job = drive(
        external_batches.import_batch(root, client.messages.batches.create(requests=requests).id)
    )
    assert job.good_count == 2
    assert {"city", "wind"} <= set(answer_shape_of(job).column_names)


def test_with_its_file_the_request_decides(root: User, simulator: Simulator, drive: Drive) -> None:
    requests: Any = [
        request_of("x", "Rome? [simulate:tool]", tools=[WEATHER]),
        request_of("y", "Oslo?", tools=[WEATHER], tool_choice=FORCED),
    ]
    client = anthropic.Anthropic(api_key="another program", base_url=simulator.url)
    batch = client.messages.batches.create(requests=requests)
    upload = ContentFile("".join(f"{json.dumps(one)}\n" for one in requests).encode(), "a.jsonl")
    job = drive(external_batches.import_batch(root, batch.id, upload))
    auto, forced = job.rows.in_order()
    assert (auto.outcome, auto.cause) == (Outcome.LOOK, "unfinished")
    assert json.loads(auto.answer)["city"], "what it gave the tool is not lost"
    assert auto.message == "Claude called get_weather."
    assert forced.outcome == Outcome.GOOD


def test_results_that_are_stored_again_give_the_same_columns(
    mixed_tools: Job, drive: Drive, simulator: Simulator
) -> None:
    before = mixed_tools.answer_columns
    batch = mixed_tools.batches.get()
    lease = lease_of(mixed_tools)
    rows = collection.expect_results(batch).rows
    assert rows
    result_rows.store(batch, files.results_path(batch), rows, lease)
    mixed_tools.refresh_from_db()
    assert mixed_tools.answer_columns == before
