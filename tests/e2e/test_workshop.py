"""The draft in a real browser: each kind of answer, tested and sent, with the keyboard alone."""

from __future__ import annotations

import csv
import io
import re

import pytest
from playwright.sync_api import Page, expect

from .conftest import as_csv, assert_fits, download, submit, tab_to, upload, wait_until_finished

ROWS = [
    ["1", "Boils fast, looks lovely. [simulate:good]", "Anna"],
    ["2", "Broke after a week. [simulate:good]", ""],
    ["3", "Broke after a week. [simulate:good]", "Ben"],
    ["4", "Whatever. [simulate:good]", "Cleo"],
]
PROMPT = "Sort this review"
LABELS = ["happy", "cross", "neither"]
MOST_CONTROLS = 14
# What can be pressed or filled in on a page, without its tour. A toolbar and a group of radio
# buttons are one stop of the Tab key each, and count once.
CONTROLS = """
[...document.querySelectorAll("main :is(a, button, input, select, textarea, summary)")]
  .filter((one) => one.checkVisibility({ visibilityProperty: true }) && !one.closest(".tour"))
  .filter((one) => one.tabIndex >= 0 || !one.closest("[role=toolbar]"))
  .filter((one) => one.type !== "radio" || one.checked)
  .map((one) => one.getAttribute("aria-label") || one.id || one.innerText)
"""


@pytest.fixture
def draft(page: Page) -> Page:
    upload(page, "workshop.csv", as_csv([["id", "review", "name"], *ROWS]))
    page.get_by_role("heading", name="4 rows, 3 columns").wait_for()
    return page


def press(page: Page, selector: str, key: str) -> None:
    tab_to(page, selector)
    page.keyboard.press(key)


def write(page: Page, selector: str, text: str) -> None:
    tab_to(page, selector)
    page.keyboard.type(text)


def choose(page: Page, selector: str, value: str) -> None:
    """One of a group of radio buttons, by the arrow keys."""
    tab_to(page, f"{selector}:checked")
    wanted = page.locator(f'{selector}[value="{value}"]')
    for _ in range(page.locator(selector).count()):
        if wanted.is_checked():
            return
        page.keyboard.press("ArrowDown")
    pytest.fail(f"the arrow keys do not reach {value}")


def pick(page: Page, selector: str, value: str) -> None:
    """One of a list, by the arrow keys."""
    tab_to(page, selector)
    for _ in range(20):
        if page.locator(selector).input_value() == value:
            return
        page.keyboard.press("ArrowDown")
    pytest.fail(f"the arrow keys do not reach {value}")


def finished_rows(page: Page) -> list[dict[str, str]]:
    text = download(page, "CSV").decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def look_at_rows(page: Page) -> None:
    """In the preview: the next row, then one by its number."""
    press(page, "#next-row", "Enter")
    expect(page.locator("#preview")).to_contain_text(ROWS[1][1])
    tab_to(page, "#preview-row")
    page.keyboard.press("Control+A")
    page.keyboard.type("4")
    page.keyboard.press("Tab")
    expect(page.locator("#preview")).to_contain_text(ROWS[3][1])


def compare_two_models(page: Page) -> None:
    """Rows are answered by two models, compared, and the job goes on with one of them."""
    press(page, ".test-form summary", "Enter")
    tab_to(page, "#tests [name=numbers]")
    page.keyboard.type("1, 2, 4")
    pick(page, "#tests [name=also]", "claude-haiku-5-5")
    press(page, "#test-button", "Enter")
    expect(page.locator("#tests")).to_contain_text("Answers that changed are marked.")
    expect(page.locator("#test-button")).to_be_focused()
    expect(page.locator("#tests .skeleton")).to_have_count(0)
    expect(page.locator("#announcer")).to_contain_text("Test 2 is done: 3 rows answered.")
    expect(page.locator("#price-details")).to_contain_text("learned this from the 3 rows")
    assert_fits(page)
    press(page, "#tests a[href*=compare]", "Enter")
    page.get_by_role("heading", name="Compare two tests").wait_for()
    expect(page.locator(".compare-sum")).to_contain_text(re.compile(r"\d of 3 rows got the same"))
    assert_fits(page)
    press(page, ".row-cards section:first-child form button", "Enter")
    expect(page.locator("#id_prompt")).to_have_value(f"{PROMPT}: {{{{review}}}}")
    expect(page.locator("[name=model]:checked")).to_have_value("claude-sonnet-5-5")


def test_labels_with_the_keyboard_alone(draft: Page) -> None:
    page = draft
    controls = page.evaluate(CONTROLS)
    assert len(controls) <= MOST_CONTROLS, controls
    write(page, "#id_prompt", f"{PROMPT}: ")
    # The columns are one stop of the Tab key; the arrows go from one to the next.
    tab_to(page, ".chip[data-insert='{{id}}']")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#id_prompt")).to_have_value(f"{PROMPT}: {{{{review}}}}")
    expect(page.locator("#id_prompt")).to_be_focused()
    page.keyboard.press("Control+Z")
    expect(page.locator("#id_prompt")).to_have_value(f"{PROMPT}: ")
    page.keyboard.press("Control+Shift+Z")
    expect(page.locator("#id_prompt")).to_have_value(f"{PROMPT}: {{{{review}}}}")

    # Instructions behind a fold, labels behind a choice, a model, no thinking, identical rows once.
    choose(page, "[name=answer_kind]", "labels")
    tab_to(page, ".label-chip-input")
    for label in LABELS:
        page.keyboard.type(label)
        page.keyboard.press("Enter")
    expect(page.locator(".label-chip")).to_have_count(len(LABELS))
    press(page, ".model-menu > summary", "Enter")
    choose(page, "[name=model]", "claude-sonnet-5-5")
    expect(page.locator("#chosen-model")).to_contain_text("Claude Sonnet 5.5")
    press(page, "#more > summary", "Enter")
    write(page, "#id_system", "Be strict.")
    pick(page, "#id_effort", "none")
    press(page, "#id_skip_duplicates", "Space")
    expect(page.locator("#price")).to_contain_text("3 rows")
    expect(page.locator("#same-rows")).to_contain_text("1 row repeats an earlier one")
    expect(page.locator("#preview")).to_contain_text(f"{PROMPT}: {ROWS[0][1]}")
    assert_fits(page)

    look_at_rows(page)
    compare_two_models(page)

    # A good answer as an example, and not any more; the focus stays where it was.
    thumb = "#tests tr:first-child form[action*=example] button"
    press(page, thumb, "Enter")
    expect(page.locator("#id_system")).to_have_value(
        re.compile(r"Be strict\..*<example>", re.DOTALL)
    )
    expect(page.locator(thumb)).to_be_focused()
    expect(page.locator(thumb)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Enter")
    expect(page.locator("#id_system")).to_have_value("Be strict.")
    press(page, thumb, "Enter")
    expect(page.locator(thumb)).to_have_attribute("aria-pressed", "true")

    press(page, "#go-on:enabled", "Enter")
    page.get_by_role("heading", name="Review and submit").wait_for()
    assert_fits(page)
    press(page, "main form button.btn-lg", "Enter")
    wait_until_finished(page)
    found = finished_rows(page)
    assert [[row["id"], row["review"], row["name"]] for row in found] == ROWS
    assert {row["answer"] for row in found} <= set(LABELS)
    assert found[1]["answer"] == found[2]["answer"]


def test_few_presses_of_the_tab_key_lead_to_the_last_step(draft: Page) -> None:
    page = draft
    page.locator("#id_prompt").fill("Say something about {{review}}")
    expect(page.locator("#go-on")).to_be_enabled()
    page.locator("#test-button").click()
    expect(page.locator("#tests .tested-answer")).to_have_count(3)
    page.reload()
    expect(page.locator("#go-on")).to_be_enabled()
    presses = 0
    # Past the head of the page, then to the link of the last step.
    for wanted in ("a.skip-link", ".stepper a[href='#go-on']"):
        target = page.locator(wanted)
        while not target.evaluate("element => element === document.activeElement"):
            page.keyboard.press("Tab")
            presses += 1
            assert presses < 20, wanted
        page.keyboard.press("Enter")
    expect(page.locator("#go-on")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Review and submit").wait_for()


def test_what_was_just_typed_is_what_is_tried(draft: Page) -> None:
    """Whatever is clicked at once after the last key, the recipe is saved before."""
    page = draft
    page.locator("#id_prompt").fill("First: {{review}}")
    expect(page.locator("#price")).to_contain_text("at most")
    page.locator("#id_prompt").press("End")
    page.keyboard.type(" and more")
    page.locator("#test-button").click()
    expect(page.locator("#tests .tested-answer").first).to_contain_text("and more")
    page.locator("#id_prompt").press("End")
    page.keyboard.type(" still")
    page.locator(".site-nav a", has_text="Templates").click()
    page.get_by_role("heading", name="Templates", exact=True).wait_for()
    page.go_back()
    expect(page.locator("#id_prompt")).to_have_value("First: {{review}} and more still")
    page.locator("#tests tr:first-child .thumbs button").first.click()
    expect(page.locator("#id_prompt")).to_have_value("First: {{review}} and more still")
    expect(page.locator("#id_system")).to_have_value(re.compile("<example>"))


def test_several_columns_with_the_keyboard_alone(draft: Page) -> None:
    page = draft
    write(page, "#id_prompt", "What does {{name}} say? {{review}}")
    choose(page, "[name=answer_kind]", "columns")
    names = "#answer-columns .answer-column:last-child"
    write(page, f"{names} [name=column_name]", "mood")
    pick(page, f"{names} [name=column_kind]", "choice")
    write(page, f"{names} [name=column_choices]", "good\nbad")
    write(page, f"{names} [name=column_description]", "how the writer feels")
    press(page, "[data-add-row]", "Enter")
    page.keyboard.type("stars")
    pick(page, f"{names} [name=column_kind]", "number")
    pick(page, f"{names} [name=column_required]", "no")
    press(page, "#more > summary", "Enter")
    expect(page.locator("#empty-cells")).to_contain_text("1 row has an empty cell and is sent")
    press(page, "#id_skip_empty", "Space")
    expect(page.locator("#price")).to_contain_text("3 rows")
    assert_fits(page)
    press(page, "#go-on:enabled", "Enter")
    page.get_by_role("heading", name="Review and submit").wait_for()
    expect(page.locator(".check-list")).to_contain_text("mood, stars")
    submit_again = page.get_by_role("link", name="Back to the draft")
    submit_again.press("Enter")
    expect(page.locator("[name=column_choices]").first).to_have_value("good\nbad")
    submit(page)
    wait_until_finished(page)
    found = finished_rows(page)
    assert [row["status"] for row in found] == ["Good", "Skipped", "Good", "Good"]
    assert {row["mood"] for row in found} <= {"good", "bad", ""}
    assert all(float(row["stars"] or 0) is not None for row in found)

    # A template of it, and the job again with one row that has changed.
    press(page, "#job-menu > summary", "Enter")
    page.get_by_role("link", name="Save as a template").press("Enter")
    page.get_by_role("button", name="Save template").press("Enter")
    press(page, "#job-menu > summary", "Enter")
    page.get_by_role("link", name="Run again on a new file").press("Enter")
    changed = [*ROWS[:2], ["3", "Now it works. [simulate:good]", "Ben"], ROWS[3]]
    page.locator("#id_file").set_input_files(
        {
            "name": "next.csv",
            "mimeType": "text/csv",
            "buffer": as_csv([["id", "Review", "name"], *changed]),
        }
    )
    page.get_by_role("heading", name="4 rows, 3 columns").wait_for()
    expect(page.locator("#id_prompt")).to_have_value("What does {{name}} say? {{Review}}")
    press(page, "#more > summary", "Enter")
    press(page, "#id_only_new", "Space")
    expect(page.locator("#price")).to_contain_text("1 row ")
    expect(page.locator("#known-rows")).to_contain_text("2 rows have a good answer from job")
    assert_fits(page)
    submit(page)
    wait_until_finished(page)
    again = finished_rows(page)
    assert [row["mood"] for row in again][::3] == [row["mood"] for row in found][::3]
    assert [row["status"] for row in again] == ["Good", "Skipped", "Good", "Good"]
