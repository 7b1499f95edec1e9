"""Is this answer good? One line of a results file, read and judged. Pure.

A result that `succeeded` is not yet a good one: it can be cut off, refused, empty or unfinished.
The causes and their descriptions are here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from .answer_formats import FREE_TEXT, TEXT, AnswerKind, DoesNotFit, as_answer, read_answer
from .tool_answers import input_text

# Values of models.Outcome; this module is pure and does not import the models.
GOOD, LOOK, ERRORED, EXPIRED, CANCELED = "good", "look", "errored", "expired", "canceled"

# Who can fix a cause.
YOU, ADMINISTRATOR, NOBODY, TIME = "you", "an administrator", "nobody", "only time"
# Remedies: retry; retry with longer answers; shorten a column; remove a parameter from the request;
# change the prompt or model; edit the rows; ignore them.
AGAIN, LONGER, SHORTEN, WITHOUT = "again", "longer", "shorten", "without"
ASK, EDIT, LEAVE_OUT = "ask", "edit", "leave_out"


@dataclass(frozen=True)
class Cause:
    """Why a row is not good: a title for lists, and advice. `charged`: whether such a row costs
    money; `passing`: whether a retry of the same request helps."""

    title: str
    advice: str
    charged: str = "Not charged."
    passing: bool = False
    # Who can fix it, and the remedies for its rows: see problem_groups.py.
    who: str = YOU
    remedies: tuple[str, ...] = (EDIT, LEAVE_OUT)


IGNORED = "set_aside"
NOT_SELECTED = "not_selected"
CHARGED = "Charged for input and output."
MARKED_DOWN = "marked_down"  # the one cause that a person gives
CAUSES: dict[str, Cause] = {
    "cut_off": Cause(
        "Answer cut off",
        "The answer reached the maximum length. Allow longer answers, or ask for shorter ones.",
        CHARGED,
        remedies=(LONGER, ASK, LEAVE_OUT),
    ),
    "refused": Cause(
        "Declined by Claude",
        "Claude declined to answer this row. Check its cells and the wording of your prompt.",
        "Some of these are charged, depending on the reason.",
        remedies=(ASK, EDIT, LEAVE_OUT),
    ),
    "not_in_form": Cause(
        "Wrong format",
        "The answer is not one of your labels or does not fit your columns. Often a "
        "clearer prompt helps.",
        CHARGED,
        remedies=(ASK, EDIT, LEAVE_OUT),
    ),
    "empty": Cause(
        "Empty answer",
        "Claude finished without writing an answer. If it was thinking, a higher answer limit "
        "leaves room for the text.",
        CHARGED,
        remedies=(LONGER, ASK, LEAVE_OUT),
    ),
    "unfinished": Cause(
        "Waiting for a tool",
        "Claude stopped to use a tool, but a batch cannot run tools. The answer column has "
        "the tool’s input. To get text, remove the tools from the request. To get exactly "
        "this input, force one tool with “tool_choice”: its input then counts as the answer.",
        CHARGED,
        remedies=(WITHOUT, ASK, EDIT, LEAVE_OUT),
    ),
    "too_long": Cause(
        "Too long for the model",
        "The prompt and the answer together are longer than the model can read. Shorten "
        "this row's text.",
        CHARGED,
        remedies=(SHORTEN, EDIT, LEAVE_OUT),
    ),
    "unexpected": Cause(
        "Ended for an unknown reason",
        "The answer ended for a reason that batchsite does not know. Read it before you use it.",
        CHARGED,
        who=NOBODY,
        remedies=(AGAIN, EDIT, LEAVE_OUT),
    ),
    "unknown_result": Cause(
        "Unknown kind of result",
        "Anthropic sent a kind of result that batchsite does not know. It is included "
        "in the file “as received”.",
        "Unknown.",
        who=NOBODY,
        remedies=(AGAIN, LEAVE_OUT),
    ),
    MARKED_DOWN: Cause(
        "Marked as not good",
        "The answer has the right format, but a reviewer marked it as not good. You can undo "
        "the mark on the page “Check quality”.",
        CHARGED,
        remedies=(ASK, EDIT, LEAVE_OUT),
    ),
    "invalid_request_error": Cause(
        "Request not accepted",
        "Anthropic did not accept this request. The message says why. Sending it "
        "again would fail the same way.",
        remedies=(WITHOUT, SHORTEN, ASK, EDIT, LEAVE_OUT),
    ),
    "authentication_error": Cause(
        "API key not accepted",
        "Anthropic did not accept this site’s API key. An administrator needs to check it.",
        who=ADMINISTRATOR,
        remedies=(AGAIN, LEAVE_OUT),
    ),
    "billing_error": Cause(
        "Billing problem",
        "Anthropic reports a billing problem, often missing credit. An administrator can "
        "add credit. Then retry these rows.",
        who=ADMINISTRATOR,
        remedies=(AGAIN, LEAVE_OUT),
    ),
    "permission_error": Cause(
        "Not allowed",
        "This site’s API key is not allowed to do this, for example to use this model. An "
        "administrator needs to check it.",
        who=ADMINISTRATOR,
        remedies=(AGAIN, LEAVE_OUT),
    ),
    "not_found_error": Cause(
        "Model not found",
        "Anthropic does not know this model, or the API key may not use it. Choose another model.",
        remedies=(ASK, EDIT, LEAVE_OUT),
    ),
    "request_too_large": Cause(
        "Request too large",
        "This row's text is larger than Anthropic accepts in one request. Shorten it.",
        remedies=(SHORTEN, EDIT, LEAVE_OUT),
    ),
    "rate_limit_error": Cause(
        "Rate limit reached",
        "Anthropic had no capacity for this row at that time. Retrying usually works.",
        passing=True,
        who=TIME,
        remedies=(AGAIN, LEAVE_OUT),
    ),
    "timeout_error": Cause(
        "Took too long",
        "Anthropic did not finish this row in time. Retrying usually works.",
        passing=True,
        who=TIME,
        remedies=(AGAIN, LEAVE_OUT),
    ),
    "api_error": Cause(
        "Error at Anthropic",
        "Something went wrong at Anthropic. Retrying usually works.",
        passing=True,
        who=TIME,
        remedies=(AGAIN, LEAVE_OUT),
    ),
    "overloaded_error": Cause(
        "Anthropic overloaded",
        "Anthropic was overloaded. Retrying usually works.",
        passing=True,
        who=TIME,
        remedies=(AGAIN, LEAVE_OUT),
    ),
    "expired": Cause(
        "Not reached in 24 hours",
        "Anthropic did not process this row within 24 hours. You can retry it.",
        passing=True,
        who=TIME,
        remedies=(AGAIN, LEAVE_OUT),
    ),
    "lost": Cause(
        "Lost at Anthropic",
        "Anthropic no longer has this row's batch or its results, so its answer cannot be fetched.",
        "It may have been charged.",
        who=NOBODY,
        remedies=(AGAIN, LEAVE_OUT),
    ),
    "canceled": Cause(
        "Stopped by you",
        "The job was stopped before this row was processed.",
        remedies=(AGAIN, EDIT, LEAVE_OUT),
    ),
    IGNORED: Cause("Ignored by you", "You chose to ignore this row.", remedies=()),
    NOT_SELECTED: Cause("Not selected", "This row was not selected to be sent.", remedies=()),
    "left_out": Cause("Skipped", "This row could not be sent; its problem says why."),
}
PASSING_CAUSES = tuple(name for name, cause in CAUSES.items() if cause.passing)
OTHER_ERROR = Cause(
    "Failed at Anthropic",
    "Anthropic gave a reason that batchsite does not know. Its message is below.",
    "Not charged, as far as we know.",
    who=NOBODY,
    remedies=(AGAIN, EDIT, LEAVE_OUT),
)


def describe_cause(cause: str) -> Cause:
    """The description of a stored cause; OTHER_ERROR for an unknown one."""
    return CAUSES.get(cause, OTHER_ERROR)


def describe_problem(cause: str, message: str) -> str:
    """Why a row is not good, in one line with its message; only the message without a cause."""
    if not cause:
        return message
    title = describe_cause(cause).title
    return f"{title}: {message}" if message else title


# --- The shape of a result line (Message Batches API, results) ----------------------------------
# Nothing in them refers back to them, so that Python's collector need not look at each (`gc`).

CALLED = "tool_use"  # the stop reason of an answer that ends with the call of a tool


# Far more than any answer has, and few enough that a sum of them can be stored.
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]


class OutputDetails(msgspec.Struct, gc=False):
    thinking_tokens: Count | None = None


class CacheCreation(msgspec.Struct, gc=False):
    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None


class ServerToolUse(msgspec.Struct, gc=False):
    web_search_requests: Count | None = None


class Usage(msgspec.Struct, gc=False):
    """Token counts of one answer, and its web searches. `input_tokens` excludes cache writes and
    cache reads; `output_tokens` includes thinking."""

    input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputDetails | None = None
    inference_geo: str | None = None
    server_tool_use: ServerToolUse | None = None

    @property
    def thinking_tokens(self) -> int:
        return (self.output_tokens_details and self.output_tokens_details.thinking_tokens) or 0


class Block(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    # Of a tool call; in other blocks they may be anything.
    name: Any = None
    input: msgspec.Raw = msgspec.Raw()


class StopDetails(msgspec.Struct, gc=False):
    category: str | None = None
    explanation: str | None = None


class Message(msgspec.Struct, gc=False):
    model: str = ""
    content: list[Block] = []
    stop_reason: str | None = None
    stop_details: StopDetails | None = None
    usage: Usage = msgspec.field(default_factory=Usage)


class ErrorBody(msgspec.Struct, gc=False):
    type: str = ""
    message: str = ""


class ErrorResponse(msgspec.Struct, gc=False):
    error: ErrorBody = msgspec.field(default_factory=ErrorBody)
    request_id: str | None = None


class Result(msgspec.Struct, gc=False):
    type: str
    message: Message | None = None
    error: ErrorResponse | None = None

    @property
    def ends_with_call(self) -> bool:
        """Whether the answer ended with the call of a tool."""
        return self.message is not None and self.message.stop_reason == CALLED


class Judgment(msgspec.Struct, frozen=True, gc=False):
    """The judgment of one result. Tokens are those the provider reports."""

    outcome: str
    cause: str = ""
    answer: str = ""
    message: str = ""
    request_id: str = ""
    answered_by: str = ""
    stop_reason: str = ""
    usage: Usage | None = None
    refusal_category: str | None = None


def is_understood(result: Result) -> bool:
    """Whether `judge_result` knows this kind of result. If not, it may be damaged."""
    if result.type == "succeeded":
        return result.message is not None
    return result.type in ("errored", EXPIRED, CANCELED)


def is_usable(outcome: str, cause: str) -> bool:
    """Whether a row has an answer as it was asked for, whatever a person thinks of it."""
    return outcome == GOOD or (outcome == LOOK and cause == MARKED_DOWN)


def judge_result(result: Result, wanted: AnswerKind = FREE_TEXT, tool: str | None = "") -> Judgment:
    """The outcome of one result, by the API's result types and stop reasons. A good answer that is
    not free text is stored as answer_formats.as_answer writes it.

    `tool`: the tool that the request forced the model to call (tool_answers.forced_tool); None for
    an unknown request. The input of that call is the answer.
    """
    if result.type == "succeeded" and result.message is not None:
        return _judge_message(result.message, wanted, tool)
    if result.type == "errored":
        error = result.error or ErrorResponse()
        return Judgment(
            ERRORED,
            cause=_cause_of(error.error.type) or "api_error",
            message=error.error.message,
            request_id=(error.request_id or "")[:100],
        )
    if result.type in (EXPIRED, CANCELED):
        return Judgment(result.type, cause=result.type)
    return Judgment(LOOK, cause="unknown_result", message=f"Result of type {result.type!r}")


def _cause_of(kind: str) -> str:
    """The type of an error as a cause, safe for URLs."""
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in kind)
    # A browser would treat these as folders.
    parts = (f"{part}\ufffd" if part in (".", "..") else part for part in shown.split("/"))
    return "/".join(parts)[:60]


def _judge_message(message: Message, wanted: AnswerKind, tool: str | None) -> Judgment:
    # By block type: the first block is often thinking.
    answer = "".join([block.text or "" for block in message.content if block.type == "text"])
    stop = message.stop_reason or ""
    calls = [block for block in message.content if block.type == "tool_use"]
    category = message.stop_details.category if message.stop_details else None
    explanation = ""
    if stop == "refusal":
        cause, answer = "refused", ""  # text before a refusal must not be used
        explanation = (message.stop_details and message.stop_details.explanation) or ""
    elif stop == "max_tokens":
        cause = "cut_off"
    elif stop == "model_context_window_exceeded":
        cause = "too_long"
    elif stop == "tool_use" and not answer.strip() and _is_answer(calls, tool):
        cause, answer = "", input_text(bytes(calls[0].input))
    elif stop in ("tool_use", "pause_turn"):
        cause, explanation = "unfinished", _called(calls)
    elif stop not in ("end_turn", "stop_sequence"):
        cause = "unexpected"
    elif not answer.strip():
        cause = "empty"
    elif wanted.kind != TEXT:
        cause, answer, explanation = _in_form(answer, wanted)
    else:
        cause = ""
    if cause and cause != "refused":
        # The input of a tool call was paid for like any text.
        inputs = (input_text(bytes(call.input)) for call in calls if bytes(call.input))
        answer = "\n".join(part for part in (answer, *inputs) if part)
    return Judgment(
        LOOK if cause else GOOD,
        cause=cause,
        answer=answer,
        message=explanation,
        answered_by=message.model[:100],
        stop_reason=stop[:60],
        usage=message.usage,
        refusal_category=category,
    )


def _is_answer(calls: Sequence[Block], tool: str | None) -> bool:
    """Whether the call is the answer. For an unknown request, a single call without text counts as
    forced: in a batch there is hardly another reason for it."""
    if len(calls) != 1 or not bytes(calls[0].input).startswith(b"{"):
        return False
    return tool is None or (tool != "" and calls[0].name == tool)


def _called(calls: Sequence[Block]) -> str:
    """Which tools Claude called, for people."""
    names = dict.fromkeys(call.name[:60] for call in calls if isinstance(call.name, str))
    return f"Claude called {', '.join(names)}." if names else ""


def _in_form(text: str, wanted: AnswerKind) -> tuple[str, str, str]:
    """Cause, answer and explanation of an answer that must have a format."""
    try:
        return "", as_answer(wanted, read_answer(wanted, text)), ""
    except DoesNotFit as error:
        return "not_in_form", text, str(error)
