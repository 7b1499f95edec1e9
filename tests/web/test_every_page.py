"""Every page in its main states: short, in the words of the glossary, with a good frame, and
without forms for those who may only read."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from jobs.actions import people
from jobs.models import Role
from jobs.web.templatetags.help import TERMS

from .. import every_page
from ..conftest import PASSWORD, Simulator, signed_in
from ..visible import LONGEST_SENTENCE, Visible, read_page, words_of

# Most words and controls of each page inside of <main>: ours, without cells, prompts and answers.
# Closed parts do not count. A page that needs more has become harder to use: fold or shorten it.
LIMITS: dict[str, tuple[int, int]] = {
    "setup": (85, 4),
    "setup, without the link": (60, 0),
    "login": (20, 5),
    "login, wrong password": (35, 5),
    "login, locked": (40, 2),
    "home, empty": (140, 7),
    "new job": (95, 9),
    "new job, refused": (90, 9),
    "new job, paste": (80, 9),
    "example, reviews": (75, 3),
    "example, tickets": (85, 3),
    "example, products": (85, 3),
    "trash, empty": (40, 2),
    "trash": (75, 9),
    "home, after a deletion": (135, 42),
    "delete for good": (65, 2),
    "CSRF, typed": (45, 3),
    "reading": (45, 4),
    "unreadable": (75, 5),
    # The draft: wanted are 150 words when it is empty, and 400 at most. Controls count here also
    # where the style sheet hides them, such as the fields of the kinds of answers.
    "draft, with findings": (335, 35),
    "draft, first job": (180, 27),
    "draft, empty": (142, 25),
    "draft, ready-made requests": (70, 9),
    "draft, full": (260, 41),
    "tests": (210, 6),
    "improve the prompt": (60, 4),
    "compare": (165, 9),
    "confirm": (160, 11),
    "confirm, pilot refused": (240, 16),
    "save as template": (80, 7),
    "match columns": (70, 5),
    "choose rows": (65, 13),
    # A job: wanted are 200 words when it has finished.
    "job, preparing": (67, 11),
    "job, working": (67, 11),
    "job, action needed": (150, 15),
    "job, stopping": (82, 10),
    "job, pilot is in": (95, 22),
    "job, pilot with right answers": (120, 23),
    "right answers of a pilot": (120, 7),
    "end the pilot": (75, 4),
    "job, finished": (80, 25),
    "job, problems": (150, 25),
    "job, cost": (80, 14),
    "job, details": (155, 15),
    "job, all good": (55, 22),
    "stop": (60, 2),
    "send again": (75, 2),
    "this is it": (130, 3),
    "finish without": (75, 2),
    "receipt": (80, 2),
    "rows": (120, 31),
    "rows, none found": (50, 14),
    "row": (50, 8),
    "row, failed": (60, 10),
    "edit row": (75, 8),
    "problems": (150, 25),
    "problems, none": (40, 10),
    "change the prompt": (95, 10),
    "ignore rows": (45, 2),
    "edit rows": (100, 11),
    "edited rows": (105, 11),
    "retry": (80, 5),
    "retry, edited rows": (80, 6),
    "change the prompt, refused": (110, 11),
    "review, start": (60, 6),
    "review, one": (60, 12),
    "review, list": (230, 65),
    "review, result": (60, 14),
    "all answers": (40, 7),
    "right answers, none": (55, 6),
    "right answers, waiting": (95, 7),
    "right answers": (140, 8),
    "right answers, draft": (55, 6),
    "rows that differ": (65, 10),
    "problems, different": (47, 11),
    "right answers by hand, start": (55, 6),
    "right answers by hand": (30, 5),
    "right answers by hand, both": (25, 4),
    "versions, none": (100, 23),
    "versions, priced": (145, 24),
    "next step": (75, 7),
    "next step, some rows": (85, 8),
    "next step, refused": (95, 7),
    "draft from another job": (170, 28),
    "job with a next step": (60, 25),
    "delete": (35, 3),
    "run again": (85, 9),
    "retention": (75, 3),
    "audit log": (310, 14),
    "system": (175, 3),
    "import": (110, 4),
    "import, listed": (110, 4),
    "import, refused": (130, 4),
    "home, full": (175, 48),
    "home, none found": (35, 10),
    "templates, none": (55, 1),
    "templates": (35, 5),
    "delete template": (40, 2),
    "template versions": (55, 4),
    "new job from a template": (80, 8),
    "people": (60, 6),
    "people, refused": (110, 9),
    "invitation, link": (35, 2),
    "invitation": (50, 4),
    "invitation over": (40, 1),
    "person": (45, 8),
    "teams": (35, 3),
    "team": (50, 9),
    "team, key": (85, 3),
    "team, key refused": (95, 3),
    "share a job": (35, 6),
    "draft, to read": (40, 1),
    "forgotten password": (40, 1),
    "account": (45, 5),
    "sessions": (20, 1),
    "two-factor": (45, 3),
    "confirm with the password": (35, 3),
    "mail address": (25, 3),
    "add an app": (50, 4),
    "add a passkey": (40, 5),
    "password": (35, 5),
    "notifications, none": (25, 1),
    "notifications": (105, 6),
    "notification settings": (130, 37),
    "notification settings, places": (120, 33),
    "notification add": (65, 8),
    "notification add, refused": (70, 8),
    "notification secret": (30, 3),
    "spending": (120, 7),
    "spending, stopped": (145, 6),
    "spending, own": (134, 0),
    "spending limits": (140, 18),
    "spending limits, refused": (150, 18),
    "spending limits, stopped": (135, 18),
    "API key": (60, 7),
    "API key, refused": (70, 7),
    "prices": (87, 9),
    "prices, refused": (160, 13),
    "restored": (70, 1),
    "help": (630, 27),
    "help, search": (1530, 57),
    "help, nothing found": (650, 27),
    "help, files": (2500, 18),
    "help, command line": (1090, 15),
    "help, sign-in": (545, 9),
    **dict.fromkeys(["400", "403", "404", "404, without a session"], (30, 2)),
    **dict.fromkeys(
        ["CSRF", "500", "busy", "crowded", "full", "too_large", "too_slow", "uploads", "version"],
        (45, 2),
    ),
    "disk": (45, 2),
}
# What the glossary has given up, with what is said instead: only phrases that mean nothing else.
GIVEN_UP = {
    r"ask(ed)? (them )?otherwise": "change the prompt",
    r"(bring|brought) in\b": "import",
    r"adopted\b": "recovered, or imported",
    r"keep(ing)? the instructions": "prompt caching",
    r"instructions for every row": "background",
    r"send (them )?again": "retry",
    r"look(ed)? (after|over)\b": "fix the problems, or check quality",
    r"needs a look": "check this",
    r"needs (you|somebody)\b": "action needed",
    r"to-do\b": "problems",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"take back|taken back": "undo",
    r"leave out|left out": "skip, or ignore",
    r"set aside": "ignore",
    r"let in again|shut out": "reactivate, or deactivate",
    r"\b(tries|tried|try) (rows|these rows|them)\b": "test",
    r"usually (from )?\$": "about",
    r"most a (job|person|month)|most per": "limit per",
    r"second person approves": "require approval above",
    r"do not go together": "wrong user name or password",
    r"what holds now": "current prices",
    r"somebody|someone who runs this site": "your administrator, or someone",
    r"of rows that\b|is to be\b": "subject, verb, object",
}

# Pages of a person's own, also of an auditor.
OWN = ("/account/", "/password/", "/notifications/")
# Forms, and what sends or opens them from elsewhere on the page.
CHANGES = re.compile(r'<[^>]*(?:\bmethod="post"|\bhx-post=|\bpopovertarget=|\bform="[a-z])[^>]*>')
# "Notify me" is for everyone who sees the job, and its form is empty; a term explains itself.
ALLOWED = ('id="act"', "/follow/", 'class="term"')


def changes_on(page: str) -> list[str]:
    """The tags in its main part with which something could be changed."""
    main = page.partition("<main")[2].partition("</main>")[0]
    tags = (" ".join(match[0].split()) for match in CHANGES.finditer(main))
    return [tag for tag in tags if not any(words in tag for words in ALLOWED)]


def as_auditor(path: str) -> str:
    """The page that an auditor gets, "" for none. There is no auditor before and after."""
    with transaction.atomic():
        ann = User.objects.create_user("ann", password=PASSWORD)
        people.store_role(ann, Role.AUDITOR)
        answer = signed_in(User.objects.get(pk=ann.pk)).get(path)
        is_page = answer.status_code == 200 and "html" in answer.headers["Content-Type"]
        page = answer.content.decode() if is_page else ""
        transaction.set_rollback(True)
    return page


def complaints(name: str, page: Visible) -> list[str]:
    words, controls = LIMITS.get(name, (0, 0))
    found = [
        f"{name}: {words_of(sentence)} words in one sentence: {sentence}"
        for sentence in page.sentences
        if words_of(sentence) > LONGEST_SENTENCE
    ]
    for pattern, better in GIVEN_UP.items():
        for match in re.finditer(pattern, page.text, re.IGNORECASE):
            around = page.text[max(match.start() - 40, 0) : match.end() + 40].replace("\n", " / ")
            found.append(f"{name}: say “{better}” in: {around}")
    if page.words > words:
        found.append(f"{name}: {page.words} words, at most {words}")
    if page.controls > controls:
        found.append(f"{name}: {page.controls} controls, at most {controls}")
    if page.main_headings != 1:
        found.append(f"{name}: {page.main_headings} main headings")
    if not page.title.endswith("batchsite") or len(page.title) < 12 or not page.description:
        found.append(f"{name}: a page needs a title of its own and a description")
    if not {"header", "main", "footer"} <= set(page.landmarks):
        found.append(f"{name}: landmarks {page.landmarks}")
    return found


def test_every_page_is_short_plain_has_its_frame_and_no_form_for_auditors(
    db: None, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = every_page.get
    read: set[str] = set()
    forms: dict[str, list[str]] = {}

    def get_both(client: Client, path: str, status: int = 200) -> bytes:
        html = get(client, path, status)
        if User.objects.exists() and not path.startswith(OWN) and (page := as_auditor(path)):
            read.add(path)
            forms[path] = changes_on(page)
        return html

    monkeypatch.setattr(every_page, "get", get_both)
    pages = list(every_page.every_page(simulator))
    shown = {name: read_page(html.decode()) for name, html in pages}

    wrong = [one for name, page in shown.items() for one in complaints(name, page)]

    assert not wrong, "\n".join(["", *wrong])
    assert set(shown) == set(LIMITS)
    all_of_them = b"".join(html for _name, html in pages).decode()
    assert [term for term, words in TERMS.items() if words not in all_of_them] == []
    assert {path: tags for path, tags in forms.items() if tags} == {}
    settings = {
        "/retention/",
        "/spending/limits/",
        "/spending/prices/",
        "/system/",
        "/audit/?days=1",
    }
    assert settings <= read and len(read) > 40
