"""A whole job on a phone, and one in a browser without JavaScript."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from ..running import wait_for
from .conftest import (
    PHONE,
    OpenPage,
    as_csv,
    assert_fits,
    submit,
    upload,
    wait_until_finished,
)

HEADER = ["id", "review"]
ROWS = [
    ["1", "Boils fast. [simulate:good]"],
    ["2", "Arrived with a dent. [simulate:good]"],
    ["3", "Works. [simulate:good]"],
]
LABELS = ("positive", "negative", "mixed")
PROMPT = "Is this review positive, negative or mixed? {{review}}"


# The bars that a note lies on.
COVERED = """
() => {
  const note = document.querySelector(".toast-note").getBoundingClientRect();
  return [...document.querySelectorAll("header, .work-bar")].filter(bar => {
    const {top, bottom} = bar.getBoundingClientRect();
    return top < note.bottom && note.top < bottom;
  }).map(bar => bar.className);
}
"""


def answers_of(content: bytes) -> list[str]:
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert [[row["id"], row["review"]] for row in rows] == ROWS, "every line, in its order"
    return [row["answer"] for row in rows]


def assert_narrow(page: Page) -> None:
    needed = page.evaluate("document.scrollingElement.scrollWidth")
    assert needed <= PHONE[0], f"{page.url} is {needed} wide"


def test_a_job_on_a_phone(open_page: OpenPage, signed_in: Path) -> None:
    width, height = PHONE
    page = open_page(
        signed_in, viewport={"width": width, "height": height}, has_touch=True, is_mobile=True
    )
    upload(page, "reviews.csv", as_csv([HEADER, *ROWS]))
    page.locator("#id_prompt").wait_for()
    assert_narrow(page)
    page.locator("#id_prompt").fill("Is this review positive, negative or mixed? ")
    page.locator(".chip", has_text="review").tap()
    page.locator(".segment", has_text="Label").tap()
    page.locator(".label-chip-input").fill(", ".join(LABELS))
    page.locator(".label-chip-input").press("Enter")
    expect(page.locator(".label-chip")).to_have_count(len(LABELS))
    expect(page.locator("#price")).to_contain_text("at most")
    page.locator("#test-button").tap()
    expect(page.locator("#tests .tested-answer")).to_have_count(3)
    assert_narrow(page)
    page.locator("#go-on").tap()
    page.get_by_role("heading", name="Review and submit").wait_for()
    assert_narrow(page)
    page.get_by_role("button", name=re.compile("^Practice with 3 rows")).tap()
    page.locator("#download-main.btn-primary").wait_for()
    assert_narrow(page)
    page.locator("#other-downloads summary").tap()
    with page.expect_download() as started:
        page.locator("#other-downloads").get_by_role("link", name=re.compile("^CSV")).first.tap()
    assert set(answers_of(Path(started.value.path()).read_bytes())) <= set(LABELS)


def test_what_was_saved_is_said_beside_the_bars_of_a_phone(
    open_page: OpenPage, signed_in: Path
) -> None:
    width, height = PHONE
    page = open_page(
        signed_in, viewport={"width": width, "height": height}, has_touch=True, is_mobile=True
    )
    upload(page, "reviews.csv", as_csv([HEADER, *ROWS]))
    page.locator("#id_prompt").fill(PROMPT)
    expect(page.locator("#price")).to_contain_text("at most")
    page.goto(f"{page.url}choose-rows/")
    page.locator("[name=sample]").fill("2")
    page.get_by_role("button", name="Save").tap()
    page.locator(".toast-note").wait_for()
    # Then the bar has its full height.
    expect(page.locator("#price")).to_contain_text("at most")
    assert page.evaluate(COVERED) == []


def test_ready_made_requests_reuse_answers(page: Page) -> None:
    """One click, and the price follows without another page."""
    asked = [{"role": "user", "content": "[simulate:good] Say hello."}]
    params = {"model": "claude-haiku-5-5", "max_tokens": 60, "messages": asked}
    request = json.dumps({"custom_id": "a", "params": params})
    upload(page, "first.jsonl", request.encode())
    expect(page.locator("#known-rows")).to_contain_text("has answered any of these requests.")
    submit(page)
    wait_until_finished(page)
    upload(page, "again.jsonl", request.encode())
    expect(page.locator("#known-rows")).to_contain_text("Without this, you pay for it again.")
    page.get_by_label("Reuse answers from earlier jobs").check()
    expect(page.locator("#known-rows")).to_contain_text("1 of 1 rows is answered from earlier jobs")
    expect(page.locator("#price")).to_contain_text("0 rows")
    assert_fits(page)
    page.locator("#go-on").click()
    expect(page.get_by_text("Saves about")).to_be_visible()
    page.get_by_role("button", name="Use the answers of earlier jobs – no charge").click()
    wait_until_finished(page)


def test_a_job_without_javascript(open_page: OpenPage, signed_in: Path) -> None:
    page = open_page(signed_in, java_script_enabled=False)
    page.goto("/jobs/new/")
    page.locator("#id_file").set_input_files(
        {"name": "reviews.csv", "mimeType": "text/csv", "buffer": as_csv([HEADER, *ROWS])}
    )
    page.get_by_role("button", name="Upload and read the file").click()
    reload_until(page, "#id_prompt")
    page.locator("#id_prompt").fill(PROMPT)
    page.locator("[name=answer_kind][value=labels]").check()
    page.locator("#id_labels").fill("\n".join(LABELS))
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#preview")).to_contain_text("mixed? Boils fast.")
    page.locator("#test-button").click()
    reload_until(page, "#tests .tested-answer", 3)
    page.locator(".model-menu > summary").click()
    expect(page.locator("[name=model]:checked")).to_have_value("claude-haiku-5-5")
    reload_until(page, "#go-on:enabled")
    page.locator("#go-on").click()
    page.get_by_role("heading", name="Review and submit").wait_for()
    page.get_by_role("button", name=re.compile("^Practice with 3 rows")).click()
    reload_until(page, "#download-main.btn-primary")
    page.locator("#other-downloads summary").click()
    with page.expect_download() as started:
        page.locator("#other-downloads").get_by_role("link", name=re.compile("^CSV")).first.click()
    assert set(answers_of(Path(started.value.path()).read_bytes())) <= set(LABELS)


def reload_until(page: Page, selector: str, count: int = 1) -> None:
    """Without scripts a person reloads the page until what they wait for is there."""

    def is_there() -> bool:
        if page.locator(selector).count() >= count:
            return True
        page.wait_for_timeout(500)  # a person is no faster, and a page costs the machine some work
        page.reload()
        return False

    wait_for(is_there, selector)
