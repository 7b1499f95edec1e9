"""Knobs that tests turn: how the provider is as a whole, not what becomes of one request."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from jobs.simulator.clock import MICROSECONDS

# Far more than "for ever" in a test, and times of so far away can still be written as a date.
_FOR_EVER = 1e9
Seconds = Annotated[float, Meta(ge=0, le=_FOR_EVER)]
Number = Annotated[int, Meta(ge=0)]


class Knobs(Struct, forbid_unknown_fields=True):
    """Where each knob stands. The server, the store and the finisher share one of these.

    As it is made, everything is switched off.
    """

    # New batches stay out of the list for so long.
    list_hide_seconds: Seconds = 0.0
    # New batches are answered with 404 for so long, on retrieve and on results.
    retrieve_404_seconds: Seconds = 0.0
    # A page of the list has at most so many batches, whatever was asked for.
    page_limit: Number = 0
    # With every accepted batch, so many of the same size by somebody else appear just after it.
    foreign_batches: Number = 0
    # A batch that would bring the requests at work, foreign ones too, over this is answered with
    # 429, and with the header retry-after if there is a number for it.
    queue_limit: Number = 0
    queue_retry_after: Seconds = 0.0
    # No batch ends; what is canceled meanwhile has no row finished.
    stuck: bool = False
    # A canceled batch ends so much later, whenever it would have ended.
    canceling_seconds: Seconds = 0.0
    # The clock in every date and header. Batches end no sooner by it, and no files go.
    clock_ahead_seconds: Annotated[float, Meta(ge=-_FOR_EVER, le=_FOR_EVER)] = 0.0
    # The share of the rows that end as expired, in a batch that ends from now on.
    expire_share: Annotated[float, Meta(ge=0, le=1)] = 0.0
    # Markers in the text of requests do nothing, in a batch that ends from now on.
    ignore_markers: bool = False
    # For so long after its end a batch is shown with its succeeded requests counted as errored.
    wrong_counts_seconds: Seconds = 0.0
    # The scheme, host and port that `results_url` names instead of ours.
    results_host: str = ""
    # Where the workspace lets models run that are not asked to run anywhere, in a batch that ends
    # from now on.
    workspace_geo: Literal["global", "us"] = "global"

    @property
    def ahead(self) -> int:
        """How far the provider's clock is ahead, in microseconds."""
        return int(self.clock_ahead_seconds * MICROSECONDS)
