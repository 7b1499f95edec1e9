"""What the person does once a job has finished: sends rows again, uploads them corrected, deletes
the job. Each is a script as in person.py, and each button is pressed twice."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .plans import MARKERS, JobPlan, PlannedRow

if TYPE_CHECKING:
    from .person import Person

# The hash of what was shown, which the form sends back.
_KEY = re.compile(r'name="key" value="(\w+)"')
PASSING_CAUSES, EDITED = "passing", "edited"
TIMES = 20  # that a page is asked for before the person lets it be


def correct_rows(person: Person, plan: JobPlan, pk: int) -> Iterator[None]:
    """Take the markers out of rows that failed because of them, and upload these rows."""
    from .person import Away, wait_for

    for _ in range(TIMES):
        try:
            corrected = corrected_file(plan, person.download(pk, "problems"))
            if corrected is None:
                return
            address = f"/jobs/{pk}/problems/edits/file/"
            person.browser.upload(address, "corrected.csv", corrected)
            person.corrections += 1
            break
        except Away:
            yield from wait_for(0.3)
    for _ in range(TIMES):  # until the worker has read it
        try:
            page = person.browser.get(f"/jobs/{pk}/problems/edits/").body.decode()
        except Away:
            page = ""
        if "which=edited" in page:
            return
        yield from wait_for(0.2)


def corrected_file(plan: JobPlan, problems: bytes) -> bytes | None:
    """The problem file of a table without markers in its cells; None when there are none. The plan
    has the new cells from then on."""
    lines = list(csv.reader(io.StringIO(problems.decode("utf-8-sig"), newline="")))
    rows = {str(row.content[0]): row for row in plan.rows if isinstance(row.content, list)}
    kept = []
    for line in lines[1:]:
        row = next((rows[cell] for cell in line if cell in rows), None)
        if row is None or row.left_out or not has_marker(row):
            continue
        assert isinstance(row.content, list)
        was = list(row.content)
        row.content = [without_markers(cell) for cell in was]
        # A cell that a spreadsheet would run has an apostrophe in front of it in the file.
        kept.append([without_markers(cell) for cell in line])
    if not kept:
        return None
    text = io.StringIO(newline="")
    csv.writer(text).writerows([lines[0], *kept])
    return text.getvalue().encode()


def has_marker(row: PlannedRow) -> bool:
    text = json.dumps(row.content)
    return any(marker in text for marker in MARKERS)


def without_markers(cell: str) -> str:
    for marker in MARKERS:
        cell = cell.replace(marker, "")
    return cell


def send_again(person: Person, pk: int, which: str) -> Iterator[None]:
    """Send rows again, by two clicks at once. There may be none, or too little money left."""
    from .person import Away, wait_for

    address = f"/jobs/{pk}/problems/retry/"
    rounds = None
    for _ in range(TIMES):
        try:
            now = person.rounds(pk)
            rounds = now if rounds is None else rounds
            if now > rounds:
                person.rounds_twice += 1
                return
            page = person.browser.get(f"{address}?which={which}")
            found = _KEY.search(html.unescape(page.body.decode()))
            if page.status != 200 or not found:
                return
            person.browser.post_twice(address, which=which, key=found[1])
        except Away:
            yield from wait_for(0.3)
        yield from wait_for(0.2)


def delete(person: Person, pk: int) -> Iterator[None]:
    """Press Delete twice, until the job is on no page any more."""
    from .person import Away, wait_for

    while any(job["id"] == pk and job["state"] != "deleting" for job in person.view.rows):
        try:
            person.browser.post_twice(f"/jobs/{pk}/delete/", now="yes")
        except Away:
            yield from wait_for(0.3)
        yield from wait_for(0.2)
    while any(job["id"] == pk for job in person.view.rows):
        yield


def settle_doubts(person: Person, truth: dict[str, Any]) -> None:
    """Answer what only a person can: is a batch that is not in the list at the provider? They look
    at the provider's own page, which shows all that was accepted."""
    from .person import Away

    try:
        for batch in person.asked():
            ids = [
                one["id"]
                for one in truth["batches"]
                if one["custom_ids"] and one["custom_ids"][0].startswith(f"{batch['nonce']}-")
            ]
            address = f"/jobs/{batch['job_id']}/batches/{batch['number']}"
            if ids:
                person.browser.post(f"{address}/this-is-it/", provider_id=ids[0])
            else:
                person.browser.post(f"{address}/send-again/")
            person.decisions += 1
        if person.is_behind_journal():
            person.browser.post("/restored/look/")
    except Away:
        pass
