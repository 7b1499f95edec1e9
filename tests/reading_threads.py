"""A process that forks, time and again: in each child six threads use every typed reader of the
site for the first time at the same moment. Says how many readers there are, and how many children
died.

    python -m tests.reading_threads 30
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pkgutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import Any

import django
import msgspec
from django.apps import apps
from msgspec import inspect

import jobs

THREADS = 6
SAMPLES: dict[type, object] = {
    inspect.StrType: "a",
    inspect.IntType: 1,
    inspect.FloatType: 1.5,
    inspect.BoolType: True,
    inspect.DateTimeType: "2026-01-15T12:00:00Z",
    inspect.DecimalType: "1.5",
}


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(jobs.__path__, "jobs."):
        if not found.name.endswith("__main__") and "migrations" not in found.name:
            yield importlib.import_module(found.name)


def readers() -> Iterator[tuple[Callable[[Any], object], Any, ModuleType | None]]:
    """Each function that reads a type, the type, and what writes for it."""
    seen = set()
    for module in modules():
        for value in vars(module).values():
            for one in value.values() if isinstance(value, dict) else [value]:
                if id(one) in seen:
                    continue
                seen.add(id(one))
                if isinstance(one, msgspec.json.Decoder):
                    yield one.decode, one.type, msgspec.json
                elif isinstance(one, msgspec.msgpack.Decoder):
                    yield one.decode, one.type, msgspec.msgpack
                elif isinstance(one, partial) and one.func is msgspec.convert:
                    yield one, one.keywords["type"], None
    for model in apps.get_models():
        for field in model._meta.concrete_fields:
            read = getattr(field, "read", None)
            if isinstance(read, partial) and read.func is msgspec.convert:
                yield read, read.keywords["type"], None


def samples() -> list[object]:
    """Something to read for each reader. In a process of its own: looking into a type makes it
    ready as well."""
    found = [(sample(inspect.type_info(kind)), writer) for _reader, kind, writer in readers()]
    return [writer.encode(what) if writer else what for what, writer in found]


def sample(kind: inspect.Type) -> object:
    """Something that has every field of `kind`, so that reading it uses each of their types."""
    match kind:
        case inspect.Metadata():
            return sample(kind.type)
        case inspect.UnionType():
            return sample(next(one for one in kind.types if not isinstance(one, inspect.NoneType)))
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.ListType() | inspect.VarTupleType():
            return [sample(kind.item_type)]
        case inspect.TupleType():
            return [sample(one) for one in kind.item_types]
        case inspect.DictType():
            return {sample(kind.key_type): sample(kind.value_type)}
        case inspect.StructType() | inspect.DataclassType():
            fields = {field.encode_name: sample(field.type) for field in kind.fields}
            if isinstance(kind, inspect.StructType) and kind.tag_field:
                fields[kind.tag_field] = kind.tag
            return fields
    return SAMPLES.get(type(kind))


def child(todo: list[tuple[Callable[[Any], object], object]]) -> None:
    together = threading.Barrier(THREADS)

    def read_all() -> None:
        for read, what in todo:
            together.wait(timeout=300)
            with suppress(msgspec.MsgspecError):
                read(what)

    threads = [threading.Thread(target=read_all) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main(times: int) -> None:
    django.setup()
    todo = [reader for reader, _kind, _writer in readers()]
    with multiprocessing.get_context("fork").Pool(1) as pool:
        what = pool.apply(samples)
    sys.setswitchinterval(1e-6)
    died = 0
    for _ in range(times):
        process = os.fork()
        if not process:
            child(list(zip(todo, what, strict=True)))
            os._exit(0)
        died += os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) != 0
    sys.stdout.write(f"{len(todo)} {died}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
