"""JSON schemas for answers: whether the API would take one, and a made-up answer that fits it."""

from collections.abc import Iterator
from functools import lru_cache

import msgspec

from .dice import Dice
from .labels import plausible_label
from .wire import invalid

Node = dict[str, object]
_decoder = msgspec.json.Decoder(Node)

_WHERE = "output_config.format.schema"
_UNSUPPORTED = {
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
    "maxLength", "maxItems", "uniqueItems", "minProperties", "maxProperties", "patternProperties",
}  # fmt: skip
_TYPES = {"object", "array", "string", "integer", "number", "boolean", "null"}
# Beyond this, references to references could make a small schema grow without end.
_MOST_NODES = 2000
_DEEPEST = 40
# Lists in lists stop growing at about so many values.
_MANY_VALUES = 1000
# Free text would not fit these formats.
_FORMATS = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "practice@example.com",
    "hostname": "practice.example.com",
    "uri": "https://example.com/practice",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


class Schema(msgspec.Struct):
    """A schema that has been checked: references resolve, nothing recurses."""

    root: Node


@lru_cache(maxsize=64)  # the rows of a batch share one schema
def read_schema(text: bytes) -> Schema:
    """The schema, or an `ApiError` that says what the API would not take."""
    try:
        root = _decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise invalid(f"{_WHERE}: Input should be a valid dictionary") from None
    _check(root)
    return Schema(root)


def _check(root: Node) -> None:
    nodes = 0

    def visit(node: Node, open_references: frozenset[str], depth: int) -> None:
        nonlocal nodes
        nodes += 1
        if nodes > _MOST_NODES or depth > _DEEPEST:
            raise invalid(f"{_WHERE}: Schema is too complex")
        _check_node(node)
        if isinstance(reference := node.get("$ref"), str):
            if reference in open_references:
                raise invalid(f"{_WHERE}: recursive schemas are not supported")
            visit(_target(reference, root), open_references | {reference}, depth + 1)
        for child in _children(node):
            visit(child, open_references, depth + 1)

    visit(root, frozenset(), 0)


def _check_node(node: Node) -> None:
    for name in node:
        if name in _UNSUPPORTED:
            raise invalid(f"{_WHERE}: '{name}' is not supported")
    for kind in _types(node):
        if kind not in _TYPES:
            raise invalid(f"{_WHERE}: '{kind}' is not a type")
    if _is_object(node) and node.get("additionalProperties") is not False:
        raise invalid(
            f"{_WHERE}: For 'object' type, 'additionalProperties' must be explicitly set to false"
        )
    if node.get("minItems") not in (None, 0, 1):
        raise invalid(f"{_WHERE}: For 'array' type, 'minItems' must be 0 or 1")
    if "enum" in node and not _list(node, "enum"):
        raise invalid(f"{_WHERE}: 'enum' must have at least one value")


def _children(node: Node) -> Iterator[Node]:
    yield from _properties(node).values()
    if isinstance(items := node.get("items"), dict):
        yield items
    for name in ("anyOf", "oneOf", "allOf"):
        for branch in _list(node, name):
            if not isinstance(branch, dict):
                raise invalid(f"{_WHERE}.{name}: Input should be a valid dictionary")
            yield branch


def _target(reference: str, root: Node) -> Node:
    found: object = root
    if not reference.startswith("#"):
        raise invalid(f"{_WHERE}: external '$ref' is not supported")
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            found = found.get(step) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise invalid(f"{_WHERE}: '$ref' {reference} does not resolve")
    return found


def make_answer(schema: Schema, dice: Dice, gist: str, question: str) -> object:
    """A value that fits the schema; its texts say that they are practice, and the `gist`."""
    made = 0

    def make(node: Node, name: str) -> object:
        nonlocal made
        made += 1
        if isinstance(reference := node.get("$ref"), str):
            return make(_target(reference, schema.root), name)
        if "const" in node:
            return node["const"]
        if choices := _list(node, "enum"):
            return _choose(choices, dice, question)
        if branches := [*_list(node, "anyOf"), *_list(node, "oneOf")]:
            return make(_branch([one for one in branches if isinstance(one, dict)], dice), name)
        if parts := _list(node, "allOf"):
            return make(_merged(node, parts, schema.root), name)
        if _is_object(node):
            return {key: make(child, key) for key, child in _properties(node).items()}
        return make_plain(node, name)

    def make_plain(node: Node, name: str) -> object:
        kinds = _types(node)
        kind = dice.pick([one for one in kinds if one != "null"] or ["null"]) if kinds else "string"
        match kind:
            case "array":
                items = node.get("items")
                child = items if isinstance(items, dict) else {}
                length = 1 if made > _MANY_VALUES else 1 + dice.number(3)
                return [make(child, f"{name} {n}") for n in range(1, length + 1)]
            case "integer":
                return _whole_number(name, dice)
            case "number":
                return _fraction(name, dice)
            case "boolean":
                return dice.number(2) == 1
            case "null":
                return None
            case _:
                if (text := _better_prompt(name, question)) is not None:
                    return text
                return _FORMATS.get(str(node.get("format")), f"(practice) {name}: {gist}")

    return make(schema.root, "")


def _better_prompt(name: str, question: str) -> str | None:
    """A request for a better prompt gets back the prompt that it shows, with a line added: there is
    something to compare and to test. None for any other request."""
    if not question.startswith("<prompt>\n"):
        return None
    if name == "reason":
        return "(practice) Claude would say here what it changed and why."
    shown = question.partition(f"<{name}>\n")[2].partition(f"\n</{name}>")[0]
    return (
        f"{shown}\n\n(Practice: Claude would improve this prompt.)" if name == "prompt" else shown
    )


def _choose(choices: list[object], dice: Dice, question: str) -> object:
    labels = [choice for choice in choices if isinstance(choice, str)]
    if len(labels) == len(choices):
        return plausible_label(labels, question, dice)
    return dice.pick(choices)


def _branch(branches: list[Node], dice: Dice) -> Node:
    """One of several forms. "Nothing" is answered now and then only, as a model would."""
    filled = [branch for branch in branches if branch.get("type") != "null"]
    if len(filled) < len(branches) and (not filled or dice.number(6) == 0):
        return {"type": "null"}
    return dice.pick(filled)


def _merged(node: Node, parts: list[object], root: Node) -> Node:
    merged: Node = {key: value for key, value in node.items() if key != "allOf"}
    properties = dict(_properties(node))
    for part in parts:
        if not isinstance(part, dict):
            continue
        whole = _target(part["$ref"], root) if isinstance(part.get("$ref"), str) else part
        properties.update(_properties(whole))
        merged.update({key: value for key, value in whole.items() if key != "properties"})
    if properties:
        merged["properties"] = properties
    return merged


def _whole_number(name: str, dice: Dice) -> int:
    lowered = name.lower()
    if any(word in lowered for word in ("score", "rating", "stars", "priority")):
        return 1 + dice.number(5)
    if "year" in lowered:
        return 1990 + dice.number(35)
    return 1 + dice.number(100)


def _fraction(name: str, dice: Dice) -> float:
    lowered = name.lower()
    if any(word in lowered for word in ("conf", "prob", "score", "share")):
        return dice.number(101) / 100
    return dice.number(1000) / 10


def _is_object(node: Node) -> bool:
    return "properties" in node or "object" in _types(node)


def _types(node: Node) -> list[str]:
    kind = node.get("type")
    if isinstance(kind, list):
        return [str(one) for one in kind]
    return [] if kind is None else [str(kind)]


def _properties(node: Node) -> dict[str, Node]:
    properties = node.get("properties")
    if not isinstance(properties, dict):
        return {}
    return {str(key): child for key, child in properties.items() if isinstance(child, dict)}


def _list(node: Node, name: str) -> list[object]:
    value = node.get(name)
    return value if isinstance(value, list) else []
