"""Are there known vulnerabilities in the libraries that production uses? pip-audit asks PyPI."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SECONDS = 90  # for all libraries; a network that swallows everything ends here


@dataclass
class Answer:
    """`known`: the libraries that the service knows. `found`: a line for each vulnerability."""

    known: int = 0
    unknown: int = 0
    found: list[str] = field(default_factory=list)


def command(requirements: Path) -> list[str]:
    options = ["--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off"]
    return [sys.executable, "-m", "pip_audit", "--requirement", str(requirements), *options]


def ask(asking: Sequence[str], environment: Mapping[str, str], folder: Path) -> Answer | None:
    """None if the service does not answer, or in no form that we know."""
    try:
        done = subprocess.run(
            asking,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return read(done.stdout)


def read(report: bytes) -> Answer | None:
    """What pip-audit printed. None also where it knows none of the libraries: some mirrors answer
    like that to everything."""
    answer = Answer()
    try:
        for library in json.loads(report)["dependencies"]:
            if "skip_reason" in library:
                answer.unknown += 1
                continue
            answer.known += 1
            for one in library["vulns"]:
                fixed = ", ".join(one["fix_versions"]) or "no version yet"
                name = f"{library['name']} {library['version']}"
                answer.found.append(f"{name}: {one['id']}, fixed in {fixed}")
    except (ValueError, KeyError, TypeError):
        return None
    return answer if answer.known else None
