"""What the provider's replies must contain, and how they are decoded.

The anthropic package is not used for this: it reads an empty list from anything that is not a list.
A reply must have the fields that we rely on; other fields are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Self, TypeVar

import msgspec

from ..rules.judging import Message
from ..rules.odd_json import plain_json
from ..rules.provider_lists import ModelInfo
from .errors import Unclear

_KINDS = ("processing", "succeeded", "errored", "canceled", "expired")


@dataclass(frozen=True)
class BatchInfo:
    """A batch as the provider reports it. `total` is known immediately; the other counts stay 0
    until the whole batch has ended."""

    id: str
    status: str  # in_progress, canceling, ended
    total: int
    counts: dict[str, int]  # succeeded, errored, canceled, expired, processing
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    archived_at: datetime | None = None  # from then on the results are gone

    @classmethod
    def of(cls, batch: BatchReply) -> Self:
        return cls(
            id=batch.id,
            status=batch.processing_status,
            total=sum(batch.request_counts.values()),
            counts={name: batch.request_counts[name] for name in _KINDS},
            created_at=batch.created_at,
            expires_at=batch.expires_at,
            ended_at=batch.ended_at,
            archived_at=batch.archived_at,
        )


_Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,100}\Z")]  # goes into addresses
_Number = Annotated[int, msgspec.Meta(ge=0)]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class BatchReply(msgspec.Struct):
    """A batch."""

    id: _Id
    processing_status: str
    request_counts: dict[str, _Number]
    created_at: _Time
    expires_at: _Time
    ended_at: _Time | None = None
    archived_at: _Time | None = None

    def __post_init__(self) -> None:
        counts = self.request_counts
        if missing := [name for name in _KINDS if name not in counts]:
            raise ValueError(f"no count of {', '.join(missing)}")
        # The sum is the number of requests, which identifies a lost batch. We cannot know whether
        # a new kind of count belongs in it, and a wrong guess would send batches again.
        if odd := [name for name, number in counts.items() if number and name not in _KINDS]:
            raise ValueError(f"an unknown count, {odd[0]}")


class BatchPage(msgspec.Struct):
    """A page of the list of batches."""

    data: list[BatchReply]
    has_more: bool
    last_id: str | None = None


class ModelPage(msgspec.Struct):
    """A page of the list of models."""

    data: list[ModelInfo]
    has_more: bool = False
    last_id: str | None = None


class DeletedReply(msgspec.Struct):
    id: _Id


class TokenCount(msgspec.Struct):
    input_tokens: _Number


# Made at import: msgspec crashes when several threads use a type for the first time.
_decoders: dict[type, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind)
    for kind in (BatchReply, BatchPage, ModelPage, DeletedReply, TokenCount, Message)
}
Reply = TypeVar("Reply")
AnyPage = TypeVar("AnyPage", BatchPage, ModelPage)


def _decode(content: bytes, kind: type[Reply]) -> Any:
    try:
        return _decoders[kind].decode(content)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if kind is Message and (text := plain_json(content)):
            return _decoders[kind].decode(text)
        raise


def decode_reply(content: bytes, kind: type[Reply]) -> Reply:
    """The body of a reply as a `kind`. Raises Unclear when it is anything else."""
    try:
        reply: Reply = _decode(content, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unclear("Anthropic's reply could not be read.") from error
    return reply
