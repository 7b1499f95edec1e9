"""All that the journal says of one batch, and which of its tries may be charged."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..models import Batch, clock
from . import acceptance_windows, journal
from .acceptance_windows import Window

Entry = journal.Intent | journal.Outcome
# States after a clear no: nothing of the batch was accepted.
CLEAR_NO = (Batch.State.PLANNED, Batch.State.BLOCKED)


@dataclass
class JournaledBatch:
    """Its entries, in the order in which they were written."""

    nonce: str
    job: int
    intents: list[journal.Intent] = field(default_factory=list)
    outcomes: list[journal.Outcome] = field(default_factory=list)
    settled: dict[int, str] = field(default_factory=dict)  # attempt -> state after it; "": open

    def add(self, entry: Entry) -> None:
        if isinstance(entry, journal.Intent):
            self.intents.append(entry)
            self.settled[entry.attempt] = ""
        else:
            self.outcomes.append(entry)
            self.settled[entry.attempt] = entry.state

    @property
    def entries(self) -> list[Entry]:
        return [*self.intents, *self.outcomes]

    @property
    def last(self) -> journal.Intent:
        return self.intents[-1]

    @property
    def was_practice(self) -> bool:
        return any(intent.practice for intent in self.intents)

    @property
    def ids(self) -> list[str]:
        """The ids that the provider gave it, that of the last attempt last. There are several if
        another batch was taken for it by mistake, or if an attempt was answered too late."""
        by_attempt = sorted(self.outcomes, key=lambda outcome: outcome.attempt)
        named = [outcome.provider_id for outcome in by_attempt if outcome.provider_id]
        return list(dict.fromkeys(reversed(named)))[::-1]

    @property
    def provider_id(self) -> str:
        return self.ids[-1] if self.ids else ""

    @property
    def was_refused(self) -> bool:
        """Every attempt got a clear no."""
        return not self.ids and all(state in CLEAR_NO for state in self.settled.values())

    def attempt_of(self, provider_id: str | None) -> int | None:
        """Which attempt the provider answered with this id."""
        named = [one.attempt for one in self.outcomes if one.provider_id == provider_id]
        return max(named, default=None) if provider_id else None

    def attempts_in_doubt(self, own: int) -> list[int]:
        """The attempts other than `own` that may have been accepted: they got no clear no."""
        return sorted(
            attempt
            for attempt, state in self.settled.items()
            if attempt != own and state not in CLEAR_NO
        )

    def window_of(self, attempt: int) -> Window:
        """When the provider can have accepted an attempt."""
        mine = [one for one in self.intents if one.attempt == attempt]
        if not mine:  # its line is damaged
            return Window(None, clock.now(), by_provider=False)
        later = [one for one in self.intents if one.attempt > attempt]
        following = min(later, key=lambda intent: intent.attempt, default=None)
        return acceptance_windows.window_of_intent(mine[-1], following)
