"""A passkey in a real browser, with the authenticator that Chromium simulates."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from .conftest import PASSWORD, USER, OpenPage


def test_a_passkey_is_added_and_signs_in(open_page: OpenPage, signed_in: Path, site: str) -> None:
    # Passkeys belong to a name, not to a network address.
    address = site.replace("127.0.0.1", "localhost")
    page = open_page(base_url=address)
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    sign_in(page)
    page.goto("/account/passkeys/add/")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Sign in with it instead of a password").check()
    page.get_by_role("button", name="Add passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    page.context.clear_cookies()

    page.goto("/login/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("heading", name="Sign in")).to_have_count(0)
    page.goto("/account/two-factor/")
    expect(page.get_by_text("Passkey 1").first).to_be_visible()

    # The other tests sign in with the password alone.
    page.get_by_role("link", name="Remove Passkey 1").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Remove passkey").click()
    expect(page.get_by_text("Passkey 1")).to_have_count(0)


def sign_in(page: Page) -> None:
    page.goto("/login/")
    page.get_by_label("User name or mail").fill(USER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Sign in")).to_have_count(0)
