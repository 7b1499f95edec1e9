"""JSON schemas for answers and strict tools: what the API takes of them, and how a schema is
brought within that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .request_shapes import Json

MOST_OPTIONAL, MOST_UNIONS = 24, 16  # of all schemas of a request together
TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
# A fix moves them to the description, as Anthropic's own library does.
UNSUPPORTED = {
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
    "patternProperties",
}
SHOWN = 80


class SchemaSurvey:
    """Walks the schemas of a request. `faults`: the first ones; `fixable`: whether simplify() helps
    with all of them."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.fixable = True
        self._optional = self._unions = 0

    def add(self, schema: Json) -> None:
        self._root = schema
        self._done: set[str] = set()  # references that were followed
        self._visit(schema, ())

    def close(self) -> None:
        """Count what all schemas have together."""
        for count, most, what in (
            (self._optional, MOST_OPTIONAL, "properties that are not “required”"),
            (self._unions, MOST_UNIONS, "properties of several types"),
        ):
            if count > most:
                self._fault(f"It has {count} {what}; at most {most} are possible.", fixable=False)

    def _fault(self, text: str, *, fixable: bool = True) -> None:
        if text not in self.faults:
            self.faults.append(text)
        self.fixable &= fixable

    def _visit(self, node: Json, open_references: tuple[str, ...]) -> None:
        self._check(node)
        reference = node.get("$ref")
        if isinstance(reference, str):
            if reference in open_references:
                text = f"“{reference[:SHOWN]}” contains itself; recursive schemas are not possible."
                self._fault(text, fixable=False)
            elif not reference.startswith("#"):
                text = f"“$ref” must be within the schema, not “{reference[:SHOWN]}”."
                self._fault(text, fixable=False)
            elif (target := _target(self._root, reference)) is None:
                self._fault(f"“$ref” names “{reference[:SHOWN]}”, which is missing.", fixable=False)
            elif reference not in self._done:
                self._visit(target, (*open_references, reference))
                self._done.add(reference)
        for child in _children(node):
            self._visit(child, open_references)

    def _check(self, node: Json) -> None:
        kinds = _types(node)
        for name in UNSUPPORTED & node.keys():
            self._fault(f"“{name}” is not supported.")
        if "oneOf" in node:
            self._fault("“oneOf” is not supported; “anyOf” is.")
        for kind in kinds:
            if kind not in TYPES:
                self._fault(f"“{str(kind)[:SHOWN]}” is not a type.", fixable=False)
        if _is_object(node) and node.get("additionalProperties") is not False:
            self._fault("Each object needs “additionalProperties”: false.")
        if node.get("minItems", 0) not in (0, 1, None):
            self._fault("“minItems” can be only 0 or 1.")
        enum = node.get("enum")
        if isinstance(enum, list) and (not enum or any(isinstance(x, dict | list) for x in enum)):
            self._fault("An “enum” must have values, which are no lists or objects.", fixable=False)
        properties = node.get("properties")
        if isinstance(properties, dict):
            required = node.get("required")
            needed = required if isinstance(required, list) else []
            self._optional += sum(name not in needed for name in properties)
        self._unions += len(kinds) > 1 or isinstance(node.get("anyOf"), list)


def _children(node: Json) -> Iterator[Json]:
    """The schemas within one, without definitions that nothing refers to."""
    properties = node.get("properties")
    found: list[Any] = list(properties.values()) if isinstance(properties, dict) else []
    found += [node.get("items"), node.get("additionalProperties")]
    for name in ("anyOf", "oneOf", "allOf"):
        branches = node.get(name)
        found += branches if isinstance(branches, list) else []
    yield from (child for child in found if isinstance(child, dict))


def _target(root: Json, reference: str) -> Json | None:
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _types(node: Json) -> list[Any]:
    kind = node.get("type")
    return kind if isinstance(kind, list) else [] if kind is None else [kind]


def _is_object(node: Json) -> bool:
    return "object" in _types(node) or isinstance(node.get("properties"), dict)


def simplify(schema: Json) -> None:
    """Move what is not supported to the descriptions, and close the objects."""
    if _is_object(schema):
        schema["additionalProperties"] = False
    moved = {name: schema.pop(name) for name in sorted(UNSUPPORTED & schema.keys())}
    if schema.get("minItems", 0) not in (0, 1, None):
        moved["minItems"] = schema["minItems"]
        schema["minItems"] = 1
    if isinstance(branches := schema.pop("oneOf", None), list):
        schema["anyOf"] = [*schema.get("anyOf", []), *branches]
    if moved:
        said = ", ".join(f"{name}: {value}" for name, value in moved.items())
        schema["description"] = f"{schema.get('description') or ''}\n\n{{{said}}}".strip()
    for name in ("$defs", "definitions"):
        inner = schema.get(name)
        for child in inner.values() if isinstance(inner, dict) else ():
            if isinstance(child, dict):
                simplify(child)
    for child in _children(schema):
        simplify(child)
