"""Columns of JSON that hold values of one type."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.fields.json import KeyTransform

T = TypeVar("T")
if TYPE_CHECKING:
    _JSONField = models.JSONField
else:

    class _JSONField(models.JSONField):
        def __class_getitem__(cls, _types: object) -> type[models.JSONField]:
            return cls


def to_json(value: object) -> Any:
    """`value` as it is stored."""
    return msgspec.to_builtins(value, str_keys=True)


class StructField(_JSONField[T, T]):
    """A column of structs, or of lists or maps of them, and their only reader and writer: `read` is
    made by `reader_of`. Keys that are missing in the database get the struct's defaults, and
    unknown ones are ignored. With null=True the column may be empty: None here, NULL there.
    Lookups and transforms of JSONField work on what is stored. Migrations see plain JSON.

    Raises msgspec.ValidationError when what is stored does not fit; of what is `derived`, and so
    can be worked out again, it is the default then: an older version may have stored it.
    """

    def __init__(
        self, read: Callable[[object], T], *, derived: bool = False, **options: Any
    ) -> None:
        self.read, self.derived = read, derived
        super().__init__(**options)

    def deconstruct(self) -> Any:
        name, _path, arguments, options = super().deconstruct()
        if "default" in options:
            is_list = isinstance(msgspec.to_builtins(self.get_default()), list | tuple)
            options["default"] = list if is_list else dict
        return name, "django.db.models.JSONField", arguments, options

    def clone(self) -> Any:
        return type(self)(self.read, derived=self.derived, **super().deconstruct()[3])

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        if value is None:  # of a row that a join has not found
            return None
        plain = super().from_db_value(value, expression, connection)
        if isinstance(expression, KeyTransform):  # a part of what is stored is as it is there
            return plain
        try:
            return self.read(plain)
        except msgspec.ValidationError:
            if not self.derived:
                raise
            return self.get_default()

    def get_prep_value(self, value: Any) -> Any:
        prepared = super().get_prep_value(value)
        return prepared if hasattr(prepared, "as_sql") else to_json(prepared)


class OptionalStructField(StructField[T | None]):
    """As StructField, of a column that may be empty: that is None here, and {} in the database."""

    def __init__(self, read: Callable[[object], T], **options: Any) -> None:
        super().__init__(read, **{"default": None, **options})

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        if value == "{}":
            return None
        return super().from_db_value(value, expression, connection)

    def get_prep_value(self, value: Any) -> Any:
        return {} if value is None else super().get_prep_value(value)

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        return super().get_db_prep_save({} if value is None else value, connection)
