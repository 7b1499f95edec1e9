"""What can go wrong with a call to the provider. The text of each exception is shown to people."""

from __future__ import annotations


class ProviderError(Exception):
    """A call did not come to what was asked; the text is for people."""


class Unreachable(ProviderError):
    """No connection, so nothing was sent."""


class Refused(ProviderError):
    """A clear no: the provider answered and did not do it."""

    def __init__(
        self, status: int, kind: str, message: str, retry_after: float | None, code: str = ""
    ) -> None:
        self.status = status
        self.kind = kind  # the API's error type, "" when it gave none
        self.code = code  # the API's finer code, "" when it gave none
        self.message = message.replace("\0", "\ufffd")  # the provider's words: untrusted text
        self.retry_after = retry_after  # seconds, when it named them
        super().__init__(f"{status} {kind}: {self.message}")

    @property
    def is_rate_limit(self) -> bool:
        """It was refused for want of room, not for what it is."""
        return self.status == 429 and not self.is_about_billing

    @property
    def is_about_billing(self) -> bool:
        """Credit or a spending limit is used up. The API says so with several statuses; its codes
        and, where there is none, its words tell (errors page)."""
        words = ("credit balance", "usage limit", "spend limit", "spending limit")
        return self.status == 402 or (
            self.status in (400, 403, 429)
            and (
                self.code in ("enforced_spend_limit_reached", "contract_spend_limit_reached")
                or any(word in self.message.lower() for word in words)
            )
        )

    @property
    def is_about_account(self) -> bool:
        """It is the key or the account that is refused, so that every batch would be."""
        return self.status in (401, 403) or self.is_about_billing

    @property
    def needs_action(self) -> bool:
        """The same would be refused again until somebody mends the key, the credit or the text."""
        return self.status in (400, 401, 402, 403, 413, 422)


class Unclear(ProviderError):
    """Neither a clear yes nor a clear no: what was asked for may have happened."""


class TooLong(Unclear):
    """More came than anything that was asked for; the rest was not read."""


class NotFound(Refused):
    """404: not there, or not yet visible, or not for this key."""
