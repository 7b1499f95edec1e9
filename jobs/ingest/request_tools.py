"""The tools of a request: which ones Anthropic runs, and how often they may run."""

from __future__ import annotations

from .request_shapes import Json

# Tools that the provider runs: the model reads what they find, and goes on. Of these, “max_uses”
# says how often.
WEB_TOOLS = ("web_search_", "web_fetch_")
_WEB_SEARCH = "web_search_"
# Tools that are only asked for, which ends the answer.
CLIENT_TOOLS = ("custom", "bash_", "browser_", "computer_", "memory_", "text_editor_")
MOST_USES, FEW_USES = 1_000, 5


def tool_kind(tool: Json) -> str:
    return str(tool.get("type") or "custom")


def has_max_uses(tool: Json) -> bool:
    uses = tool.get("max_uses")
    return type(uses) is int and 1 <= uses <= MOST_USES


def count_uses(tools: list[Json]) -> tuple[int, int]:
    """How many web searches are allowed, and how many turns the model takes with what is found:
    one for each use, and one to answer. 0 without such a tool."""
    finding = [tool for tool in tools if tool_kind(tool).startswith(WEB_TOOLS)]
    if not finding:
        return 0, 0
    searching = [tool for tool in finding if tool_kind(tool).startswith(_WEB_SEARCH)]
    searches, uses = (sum(tool["max_uses"] for tool in some) for some in (searching, finding))
    return searches, uses + 1
