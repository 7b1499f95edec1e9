"""What can go wrong with a call to the provider. The text of each exception is shown to people."""

from __future__ import annotations


class ProviderError(Exception):
    """A call failed. Its text is shown to people."""


class Unreachable(ProviderError):
    """There was no connection, so nothing was sent."""


class Refused(ProviderError):
    """A definite no: the provider replied and did nothing."""

    def __init__(
        self, status: int, kind: str, message: str, retry_after: float | None, code: str = ""
    ) -> None:
        self.status = status
        self.kind = kind  # the API's error type, "" when it gave none
        self.code = code  # the API's error code, "" when it gave none
        self.message = message.replace("\0", "\ufffd")  # the provider's words: untrusted text
        self.retry_after = retry_after  # seconds, when it named them
        super().__init__(f"{status} {kind}: {self.message}")

    @property
    def is_rate_limit(self) -> bool:
        """The rate limit was reached; the same request may succeed later."""
        return self.status == 429 and not self.is_about_billing

    @property
    def is_about_billing(self) -> bool:
        """Credit or a spending limit is used up. The API reports this with several statuses, so
        look at its code or, without a code, at its message (errors page)."""
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
        """The key or the account is refused, so every other batch would be refused too."""
        return self.status in (401, 403) or self.is_about_billing

    @property
    def needs_action(self) -> bool:
        """The same request would be refused again until a person fixes the key, credit or text."""
        return self.status in (400, 401, 402, 403, 413, 422)


class Unclear(ProviderError):
    """Neither a yes nor a no: the call may have taken effect."""


class TooLong(Unclear):
    """The reply was longer than any valid one. The rest was not read."""


class NotFound(Refused):
    """404: it does not exist, is not visible yet, or belongs to another key."""
