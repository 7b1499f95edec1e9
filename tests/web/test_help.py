"""The docs inside the site: every page shows and leads somewhere, and every "?" finds its place."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.template import Context, Template
from django.test import Client
from django.urls import URLPattern, get_resolver

from jobs.models import Job
from jobs.web import help_pages, help_places
from jobs.web.help_search import search
from jobs.web.templatetags.help import TERMS

from ..environment import ROOT
from ..visible import LONGEST_SENTENCE, SENTENCE_END, words_of
from .test_untrusted_text import inspect

MakeJob = Callable[..., Job]
# Addresses of no page, and the help itself.
NO_PAGES = {"help", "help_page", "tour", "robots", "favicon"}
NO_PAGES |= {"notifications_bell", "notifications_news"}  # parts of every page
# Other names of pages, and addresses that only lead on.
NO_PAGES |= {
    "account_login",
    "account_logout",
    "account_change_password",
    "mfa_list_webauthn",
    "mfa_login_webauthn",
    "socialaccount_login_cancelled",
}
EVERY = help_pages.USING + help_pages.RUNNING


def test_every_file_of_these_docs_is_a_page_of_the_help() -> None:
    files = {
        path.relative_to(ROOT / "docs").with_suffix("").as_posix()
        for folder in ("using", "running")
        for path in (ROOT / "docs" / folder).glob("*.md")
    }
    assert files == set(EVERY)


@pytest.mark.parametrize("name", EVERY)
def test_a_page_of_the_help_shows_its_text_and_its_links_lead_on(
    name: str, client_root: Client
) -> None:
    answer = client_root.get(help_pages.address_of(name))
    page = answer.content.decode()
    assert answer.status_code == 200
    inspect(re.sub(r'href="https?://[^"]*', 'href="/', page))
    for link in re.findall(r'<a href="(/help/[^"]*|#[^"]+)"', page):
        path, _, anchor = link.partition("#")
        target = client_root.get(path).content.decode() if path else page
        assert "Page not found" not in target, link
        assert not anchor or f'id="{anchor}"' in target, link
    for src in re.findall(r'<img src="([^"]*docs-images/[^"]*)"', page):
        assert (ROOT / "docs" / "images" / src.rpartition("/")[2]).exists()


@pytest.mark.parametrize("name", EVERY)
def test_the_docs_have_no_sentence_that_is_too_long(name: str) -> None:
    long = [
        sentence
        for section in help_pages.find_page(name).sections
        for block in section.blocks
        if "\n" not in block  # which is code
        for cell in block.split(" · ")
        for sentence in SENTENCE_END.split(cell)
        if words_of(sentence) > LONGEST_SENTENCE
    ]
    assert not long


def test_raw_html_and_scripts_in_the_docs_are_text() -> None:
    rendered = help_pages.MARKDOWN.render("<b>x</b> [y](javascript:alert(1)) <script>z</script>")

    assert not re.search(r"<b>|<script|<a ", rendered)


def test_pages_for_administrators_are_for_them_only(client_alice: Client) -> None:
    assert client_alice.get("/help/running/install/").status_code == 404
    assert client_alice.get("/help/using/nothing/").status_code == 404
    page = client_alice.get("/help/", {"q": "systemd"}).content.decode()
    assert "Run batchsite" not in page and "No page has all of these words" in page
    # What everyone reads leads to nothing that they may not see.
    for name in help_pages.USING:
        assert "/help/running/" not in help_pages.find_page(name).html


def test_the_page_about_signing_in_is_open_to_strangers(alice: User) -> None:
    assert "/help/sign-in/" in Client().get("/login/").content.decode()
    page = Client().get("/help/sign-in/").content.decode()
    assert "When you cannot sign in" in page
    assert 'role="search"' not in page  # which would lead back to the sign-in


# --- The "?" --------------------------------------------------------------------------------------


def url_names() -> set[str]:
    found = [part.url_patterns for part in get_resolver().url_patterns]  # type: ignore[union-attr]  # both are lists
    return {
        str(pattern.name)
        for patterns in found
        for pattern in patterns
        if isinstance(pattern, URLPattern) and pattern.name
    }


def test_every_address_has_its_place_in_the_help() -> None:
    """A new page has to be put into EXPLAINED of help_places.py."""
    assert set(help_places.PLACES) == url_names() - NO_PAGES
    listed = [name for names in help_places.EXPLAINED.values() for name in names]
    assert len(listed) == len(set(listed))
    assert set(help_places.BY_STATE) == set(Job.State) - {Job.State.DELETING}


@pytest.mark.parametrize("place", sorted({*help_places.EXPLAINED, *help_places.BY_STATE.values()}))
def test_every_place_is_a_heading_that_exists(place: str) -> None:
    name, _, anchor = place.partition("#")
    page = help_pages.find_page(name)
    assert not anchor or anchor in {section.anchor for section in page.sections}


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/", "/help/using/jobs/"),
        ("/jobs/new/", "/help/using/files/"),
        ("/password/", "/help/sign-in/#your-password"),
        ("/no/such/page/", "/help/"),
        ("/jobs/{}/", "/help/using/jobs/#when-a-job-has-finished"),
        ("/jobs/{}/rows/", "/help/using/jobs/#look-at-single-rows"),
    ],
)
def test_the_question_mark_opens_the_help_of_this_page(
    path: str, place: str, make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    page = client_alice.get(path.format(make_job(alice).pk)).content.decode()

    assert re.search(rf'href="{place}"\s+aria-label="Help for this page"', page)


def test_the_help_of_a_job_depends_on_its_state(
    make_job: MakeJob, alice: User, client_alice: Client
) -> None:
    draft = make_job(alice, Job.State.DRAFT)

    assert 'href="/help/using/prompts/"' in client_alice.get(f"/jobs/{draft.pk}/").content.decode()


# --- Search ---------------------------------------------------------------------------------------


def test_a_search_finds_sections_with_all_words_and_marks_them(client_alice: Client) -> None:
    page = client_alice.get("/help/", {"q": "wilson interval"}).content.decode()

    assert "1 result" in page
    assert "/help/using/quality/#what-the-sample-tells-you" in page
    assert "<mark>Wilson</mark> <mark>interval</mark>" in page


def test_a_search_puts_headings_first_and_finds_beginnings_of_words() -> None:
    pages = help_pages.pages_for(administrator=False)

    hits = search("LIMIT", pages)

    assert hits[0].title[0] == ("Limit", True)  # of "Limits"
    assert len(hits) > 2
    assert not search("imit", pages)
    assert not search("limits quokka", pages)


@pytest.mark.parametrize("query", ["", " ", "(", "[a", "\\", "<b>", "ß İ", "\0", "a" * 5000])
def test_a_search_for_nonsense_is_no_fault_of_the_help(query: str, client_alice: Client) -> None:
    answer = client_alice.get("/help/", {"q": query})

    assert answer.status_code == 200
    inspect(answer.content.decode())


# --- Terms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("term", TERMS)
def test_a_term_explains_itself_without_scripts(term: str) -> None:
    source = '{% load help %}{% explain term "at most" %} {% explain term place="2" %}'

    page = Template(source).render(Context({"term": term}))

    assert f'popovertarget="term-{term}"' in page and f'id="term-{term}" class' in page
    assert f'popovertarget="term-{term}-2"' in page and f'id="term-{term}-2" class' in page
    assert ">at most</button>" in page
    assert TERMS[term] in page
