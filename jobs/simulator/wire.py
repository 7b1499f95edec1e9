"""What goes over the wire: the shapes of requests, answers, batches and errors."""

import datetime
import re
import secrets
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

# ------------------------------------------------------------------------------------------- errors

KIND_OF_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class ErrorObject(Struct):
    """The inner part of an error."""

    type: str
    message: str


class ErrorResponse(Struct):
    """An error as the API words it, both as an HTTP body and inside a result line."""

    error: ErrorObject
    request_id: str | None = None
    type: str = "error"


class ApiError(Exception):
    """The request is answered with an error."""

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after

    def response(self, request_id: str) -> ErrorResponse:
        """The body of the answer."""
        kind = KIND_OF_STATUS.get(
            self.status, "api_error" if self.status >= 500 else "invalid_request_error"
        )
        return ErrorResponse(ErrorObject(kind, self.message), request_id)


def invalid(message: str) -> ApiError:
    """The error for a request that is wrong in itself."""
    return ApiError(400, message)


_AT = re.compile(r" - at `\$\.?(?P<path>.*)`$")
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(?P<name>.*)`")
_MISSING_FIELD = re.compile(r"Object missing required field `(?P<name>.*)`")


def explain(error: msgspec.MsgspecError) -> str:
    """The API's way of saying what the decoder found: the path first, then what is wrong there."""
    text = str(error)
    path = ""
    if found := _AT.search(text):
        path = found["path"].replace("[", ".").replace("]", "").lstrip(".")
        text = text[: found.start()]
    for pattern, words in (
        (_UNKNOWN_FIELD, "Extra inputs are not permitted"),
        (_MISSING_FIELD, "Field required"),
    ):
        if named := pattern.fullmatch(text):
            path = f"{path}.{named['name']}".lstrip(".")
            text = words
    return f"{path}: {text}" if path else text


# ----------------------------------------------------------------------------------------- requests


class CacheControl(Struct):
    """A mark: everything up to here may be cached."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] = "5m"


class Source(Struct):
    """Where an image or a document comes from."""

    type: str = ""
    data: str = ""
    url: str = ""
    file_id: str = ""


class Block(Struct):
    """One block of content; of other kinds than text only the size matters here."""

    type: str
    text: str | None = None
    source: Source | None = None
    cache_control: CacheControl | None = None


class Turn(Struct, forbid_unknown_fields=True):
    """One message of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class Thinking(Struct, forbid_unknown_fields=True):
    """How the model is to think."""

    type: Literal["enabled", "adaptive", "disabled", "between_tools"]
    budget_tokens: int | None = None
    display: Literal["summarized", "omitted"] | None = None


class Format(Struct, forbid_unknown_fields=True):
    """The form the answer must have."""

    type: Literal["json_schema"]
    schema: Raw


class OutputConfig(Struct, forbid_unknown_fields=True):
    """How much effort, and in which form."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: Format | None = None


class ToolChoice(Struct):
    """Whether a tool must be used."""

    type: Literal["auto", "any", "tool", "none"]
    name: str = ""


class Params(Struct, forbid_unknown_fields=True):
    """The parameters of one message. Fields typed `object` are known, but not what is in them."""

    model: str
    messages: list[Turn]
    max_tokens: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    system: str | list[Block] = ""
    stop_sequences: list[str] = []
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    cache_control: CacheControl | None = None
    tools: list[dict[str, object]] = []
    tool_choice: ToolChoice | None = None
    inference_geo: Literal["us", "global"] | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    stream: bool | None = None
    speed: str | None = None
    temperature: object = UNSET
    top_p: object = UNSET
    top_k: object = UNSET
    fallbacks: object = UNSET
    container: object = UNSET
    context_management: object = UNSET
    diagnostics: object = UNSET
    mcp_servers: object = UNSET
    metadata: object = UNSET
    user_profile_id: object = UNSET


class Item(Struct, forbid_unknown_fields=True):
    """One request of a batch; its parameters stay undecoded until the batch is worked on."""

    custom_id: str
    params: Raw


class Envelope(Struct, forbid_unknown_fields=True):
    """The body of a batch."""

    requests: list[Item]


_params_decoder = msgspec.json.Decoder(Params)
_envelope_decoder = msgspec.json.Decoder(Envelope)


def decode_params(body: Raw | bytes) -> Params:
    """The parameters of one message, or an `ApiError` that says what is wrong with them."""
    try:
        return _params_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(error) from error


def decode_envelope(body: memoryview) -> list[Item]:
    """The requests of a batch, whose parameters are views of `body`."""
    try:
        return _envelope_decoder.decode(body).requests
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(error) from error


def encode_envelope(items: list[Item]) -> bytes:
    """The body of a batch."""
    return encode(Envelope(items))


def _unreadable(error: Exception) -> ApiError:
    if isinstance(error, msgspec.ValidationError):
        return invalid(explain(error))
    return invalid(f"The request body is not valid JSON: {error}")


# ------------------------------------------------------------------------------------------ answers


class CacheCreation(Struct):
    """Tokens written to the cache, by how long they stay there."""

    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class OutputDetails(Struct):
    """What part of the output was thinking."""

    thinking_tokens: int


class ServerToolUse(Struct):
    """How often tools were used that run at the provider."""

    web_search_requests: int
    web_fetch_requests: int


class Usage(Struct):
    """What a message would have cost, in tokens."""

    input_tokens: int
    output_tokens: int
    output_tokens_details: OutputDetails
    service_tier: str
    inference_geo: str
    cache_creation: CacheCreation
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    server_tool_use: ServerToolUse | None = None
    speed: str = "standard"


class TextBlock(Struct):
    """Text of an answer."""

    text: str
    citations: None = None
    type: str = "text"


class ThinkingBlock(Struct):
    """The place of the thinking before an answer."""

    thinking: str
    signature: str
    type: str = "thinking"


class ToolUseBlock(Struct):
    """A tool of the client's that the model calls."""

    id: str
    name: str
    input: object
    type: str = "tool_use"


class StopDetails(Struct):
    """Why an answer was refused."""

    category: str | None
    explanation: str | None
    type: str = "refusal"


class Reply(Struct):
    """A message as the model would have answered."""

    id: str
    model: str
    content: list[ThinkingBlock | TextBlock | ToolUseBlock]
    stop_reason: str
    usage: Usage
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None
    container: None = None
    type: str = "message"
    role: str = "assistant"


class Succeeded(Struct):
    """A request that was answered."""

    message: Reply
    type: str = "succeeded"


class Errored(Struct):
    """A request that could not be processed."""

    error: ErrorResponse
    type: str = "errored"


class Ended(Struct):
    """A request that was not reached: `canceled` or `expired`."""

    type: str


class ResultLine(Struct):
    """One line of the results."""

    custom_id: str
    result: Succeeded | Errored | Ended


class Counts(Struct):
    """How many requests of a batch are in which state."""

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0


class BatchObject(Struct):
    """A batch as the API shows it."""

    id: str
    processing_status: str
    request_counts: Counts
    created_at: str
    expires_at: str
    ended_at: str | None
    cancel_initiated_at: str | None
    archived_at: str | None
    results_url: str | None
    type: str = "message_batch"


encode = msgspec.json.Encoder().encode


def timestamp(microseconds: int) -> str:
    """A time since the epoch as RFC 3339 with microseconds, in UTC."""
    epoch = datetime.datetime(1970, 1, 1)  # naive: the zone is written out below
    moment = epoch + datetime.timedelta(microseconds=microseconds)
    return moment.isoformat(timespec="microseconds") + "Z"


def new_id(prefix: str) -> str:
    """A fresh id such as `req_01…`."""
    return f"{prefix}_01{secrets.token_hex(11)}"
