"""What stands in for the programs that the docs call and a machine of tests cannot have.

A shell finds a small script under the name of each. It asks the test what to do (`answer`), which
asks the function of that program. This one gets the words after the name. It refuses what the
program or this project would not understand, remembers what changes, and returns the command that
is really run, if there is one."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .environment import ROOT

# Commands of manage.py that are really run, once each: they show that service and container start
# commands well. Other tests run the others; here, only their arguments are read.
RUN_HERE = {"job list", "backup", "upgrade", "restore"}
# They refuse to run beside the site.
ALONE = {"restore", "upgrade"}
UNITS_OF_OTHERS = {"podman.socket"}
# An option that ends with = takes a value.
OF_COMPOSE = {
    "build": "--pull --no-cache",
    "exec": "-T -e= --env= -u= --user=",
    "logs": "-f --follow --tail=",
    "ps": "-a --all",
    "run": "--rm -T -e= --env= -u= --user=",
    "stop": "-t= --timeout=",
    "up": "--build -d --detach --scale=",
}
VERBS = {"daemon-reload", "disable", "enable", "restart", "start", "status", "stop"}


class Refused(Exception):
    """A page says something that would not work; the text says what."""


@dataclass
class Machine:
    """The machine on which a reader follows the pages: a folder, and what happened in it."""

    folder: Path
    python: str  # which really runs
    address: str  # of a site that answers
    variables: set[str]  # that something reads
    packages: set[str]  # that some list of requirements has
    services: dict[str, dict[str, list[str]]]  # of compose.yml: their profiles and volumes
    here: Path  # where the shell is
    users: set[str] = field(default_factory=lambda: {"root"})
    running: set[str] = field(default_factory=set)
    ran: set[str] = field(default_factory=set)
    asked: list[list[str]] = field(default_factory=list)  # of manage.py

    def path(self, name: str) -> Path:
        """Where that path of the docs is."""
        return self.folder / name.lstrip("/")

    def in_docs(self, words: str) -> str:
        return words.replace(str(self.folder), "")

    def without_anything(self, command: list[str], *values: str) -> list[str]:
        """`command` with no environment but `values`, as a service or container starts it."""
        return ["env", "-i", f"PATH={self.folder / 'bin'}", *values, *command]

    def unit(self, name: str) -> list[str]:
        """The lines of a unit that a page has installed."""
        unit = self.path(f"/etc/systemd/system/{name.removesuffix('.service')}.service")
        require(unit.is_file(), f"no page has installed a unit {name}")
        return unit.read_text().splitlines()


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Refused(otherwise)


def options(words: list[str], known: str) -> tuple[dict[str, list[str]], list[str]]:
    """The options before the first other word, with their values, and what follows them."""
    takes = {name.rstrip("="): name.endswith("=") for name in known.split()}
    given: dict[str, list[str]] = {name: [] for name in takes}
    rest = list(words)
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).partition("=")
        if name not in takes and re.fullmatch("-[a-zA-Z]{2,}", name):
            rest[:0] = [f"-{letter}" for letter in name[1:]]  # several in one word
            continue
        require(name in takes, f"no option {name}; known are {known or 'none'}")
        if takes[name] and not equals:
            require(bool(rest), f"{name} has no value")
            value = rest.pop(0)
        given[name].append(value)
    return given, rest


# --- The source -----------------------------------------------------------------------------------


def git(machine: Machine, words: list[str]) -> list[str]:
    if words and words[0] == "clone":
        _given, rest = options(words[1:], "--branch= --depth=")
        source = str(machine.folder / "repository")
        require(len(rest) == 2 and rest[0] == source, "clone what, and where to?")
        shutil.copytree(source, machine.here / rest[1], copy_function=os.link)
    else:
        require(words == ["pull"], "only clone and pull are known")
        require((machine.here / "Makefile").is_file(), "this folder is no clone")
    return []


def make(machine: Machine, words: list[str]) -> list[str]:
    makefile = machine.here / "Makefile"
    require(makefile.is_file(), "there is no Makefile in this folder")
    text = makefile.read_text()
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            require(f"({name})" in text or f"ifdef {name}" in text, f"it reads no {name}")
            for option in re.findall(r"--[a-z]+", value):
                benches = (ROOT / "tests").glob("bench*.py")
                named = any(f'"{option}"' in bench.read_text() for bench in benches)
                require(named, f"nothing reads {option}")
        else:
            require(re.search(f"^{name}:", text, re.M) is not None, f"no target {name}")
    if "run" in words:
        stand_in(machine, machine.here / ".venv" / "bin" / "python")
    return []


def pip(machine: Machine, words: list[str]) -> list[str]:
    require(words[:1] == ["install"], "only install is known")
    given, names = options(words[1:], "--quiet --no-cache-dir --disable-pip-version-check -r=")
    for name in given["-r"]:
        require((machine.here / name).is_file(), f"there is no {name}")
    for name in names:
        hooks = ROOT / f".{name}-config.yaml"
        require(name in machine.packages or hooks.is_file(), f"nothing here uses {name}")
    return []


def pre_commit(_machine: Machine, words: list[str]) -> list[str]:
    require(words == ["install"], "only install is known")
    return []


def python(machine: Machine, words: list[str]) -> list[str]:
    match words:
        case ["-m", "venv", folder]:
            stand_in(machine, Path(folder, "bin", "python"))
        case ["-m", "pip", *rest]:
            return pip(machine, rest)
        case ["-m", "compileall", *_]:
            if "compileall" not in machine.ran:  # once is enough
                machine.ran.add("compileall")
                return [machine.python, *words]
        case ["-m", module, *_]:
            path = ROOT.joinpath(*module.split("."))
            require(path.is_dir() or path.with_suffix(".py").is_file(), f"no module {module}")
        case ["-c", *_]:  # of install.sh
            return [machine.python, *words]
        case ["manage.py", *arguments] if arguments:
            return manage(machine, arguments)
        case _:
            raise Refused(f"python {' '.join(words)}?")
    return []


def manage(machine: Machine, arguments: list[str]) -> list[str]:
    """The test reads the arguments of all of them afterwards."""
    require((machine.here / "manage.py").is_file(), "there is no manage.py in this folder")
    machine.asked.append([machine.in_docs(word) for word in arguments])
    name = " ".join(arguments[:2] if arguments[0] == "job" else arguments[:1])
    if name in machine.ran or name not in RUN_HERE:
        return []
    machine.ran.add(name)
    # The clone has not been compiled, and is the same.
    is_installed = (machine.here / "entrypoint.sh").exists()
    return [machine.python, str((machine.here if is_installed else ROOT) / "manage.py"), *arguments]


# --- The machine ----------------------------------------------------------------------------------


def useradd(machine: Machine, words: list[str]) -> list[str]:
    known = "--system -r --home-dir= -d= --shell= -s= --no-create-home -M --uid= -u= --gid= -g="
    _given, names = options(words, known)
    require(len(names) == 1, "one user at a time")
    machine.users |= {*names}
    return []


def install(machine: Machine, words: list[str]) -> list[str]:
    """Really, but with the owner that the shell has."""
    given, folders = options(words, "-d -o= -g= -m=")
    for name in given["-o"] + given["-g"]:
        require(name.isdigit() or name in machine.users, f"there is no user {name}")
    require("" in given["-d"] and bool(folders), "only folders are known")
    mode = [word for value in given["-m"] for word in ("-m", value)]
    program = shutil.which("install", path=os.defpath) or "/usr/bin/install"
    return [program, "-d", *mode, *folders]


def systemctl(machine: Machine, words: list[str]) -> list[str]:
    require(bool(words) and words[0] in VERBS, f"no verb of those known: {sorted(VERBS)}")
    given, units = options(words[1:], "--now")
    require(bool(units) == (words[0] != "daemon-reload"), "which unit?")
    for unit in units:
        if unit in UNITS_OF_OTHERS:
            continue
        for line in machine.unit(unit):
            name, _, value = line.partition("=")
            if name == "User":
                require(value in machine.users, f"no page has made the user {value} of the unit")
            if name == "ExecStart":
                program = machine.path(value.split()[0])
                require(program.is_file(), f"no page has installed {value}, which the unit starts")
        if words[0] in ("start", "restart") or given["--now"]:
            machine.running.add(unit)
        if words[0] == "stop":
            require(unit in machine.running, f"{unit} does not run")
            machine.running.remove(unit)
    return []


def systemd_run(machine: Machine, words: list[str]) -> list[str]:
    known = "--pty --pipe --wait --collect --quiet --unit= -p= --property= -E= --setenv="
    given, command = options(words, known)
    unit = machine.unit("batchsite")
    values = given["-E"] + given["--setenv"]
    asked = given["-p"] + given["--property"]
    asked += [f"Environment={machine.in_docs(value)}" for value in values]
    for line in map(machine.in_docs, asked):
        require(line in unit, f"the unit has no line {line}")
    needed = [line for line in unit if re.match("User|Environment", line)]
    for line in needed:
        require(line in map(machine.in_docs, asked), f"the service also has {line}")
    require(len(command) > 1, "which command?")
    starts = f"ExecStart={machine.in_docs(command[0])} serve"
    require(starts in unit, f"the unit has no line {starts}")
    if command[1] in ALONE:
        require("batchsite" not in machine.running, "the site still runs: stop the service first")
    return machine.without_anything(command, *values)


def journalctl(machine: Machine, words: list[str]) -> list[str]:
    given, rest = options(words, "-u= --unit= -f --follow -n= --since=")
    require(not rest, "it takes no other words")
    for name in given["-u"] + given["--unit"]:
        machine.unit(name)
    return []


def systemd_analyze(machine: Machine, words: list[str]) -> list[str]:
    require(len(words) == 2 and words[0] in ("security", "verify"), "only security UNIT is known")
    machine.unit(words[1])
    return []


def curl(machine: Machine, words: list[str]) -> list[str]:
    """Really, but from the site of the test."""
    known = "-f --fail -s --silent -S --show-error -H= --header= -o="
    _given, addresses = options(words, known)
    require(len(addresses) == 1, "one address")
    usual = "http://127.0.0.1:8000/"
    require(addresses[0].startswith(usual), f"the site listens on {usual}")
    program = shutil.which("curl", path=os.defpath)
    asked = addresses[0].replace(usual, f"{machine.address}/")
    if program:
        return [program, "--noproxy", "*", *words[:-1], asked]
    return [machine.python, "-c", "import sys, urllib.request as u; u.urlopen(sys.argv[1])", asked]


# --- Containers -----------------------------------------------------------------------------------


def docker(machine: Machine, words: list[str]) -> list[str]:
    require(words[:1] == ["compose"], "only compose is known")
    given, rest = options(words[1:], "--profile=")
    if not rest:
        return []  # a sentence that names it
    require((machine.here / "compose.yml").is_file(), "there is no compose.yml in this folder")
    name, *rest = rest
    require(name in OF_COMPOSE, f"compose has no {name} of those known: {sorted(OF_COMPOSE)}")
    own, rest = options(rest, OF_COMPOSE[name])
    services, command = (rest[:1], rest[1:]) if name in ("exec", "run") else (rest, [])
    services += [scale.partition("=")[0] for scale in own.get("--scale", [])]
    require(bool(services) or name not in ("exec", "run"), "in which service?")
    for service in services:
        require_service(machine, service, given["--profile"])
    if name == "up":
        machine.running.add("compose")
    if name == "stop":
        machine.running.discard("compose")
    if not command:
        return []
    return in_container(machine, name, services[0], command)


def require_service(machine: Machine, name: str, profiles: Sequence[str]) -> None:
    """compose.yml has it, and it is not left out for want of a profile."""
    require(name in machine.services, f"compose.yml has no service {name}")
    needed = machine.services[name]["profiles"]
    settings = machine.here / ".env"
    lines = settings.read_text().splitlines() if settings.is_file() else []
    chosen = [line.partition("=")[2] for line in lines if line.startswith("COMPOSE_PROFILES=")]
    require(not needed or bool({*needed} & {*profiles, *chosen}), f"{name} needs profile {needed}")


def in_container(machine: Machine, name: str, service: str, command: list[str]) -> list[str]:
    runs = "compose" in machine.running
    if name == "exec":
        require(runs, "there is no container: a page has to start it first")
    else:
        # What the image starts.
        command = [str(machine.path("/opt/batchsite/entrypoint.sh")), *command]
    if command[1] in ALONE:
        require(not runs, "the site still runs: stop the containers first")
    for path in filter(lambda word: word.startswith("/"), map(machine.in_docs, command[1:])):
        volumes = machine.services[service]["volumes"]
        is_kept = any(Path(path).is_relative_to(volume) for volume in volumes)
        require(is_kept, f"{path} is in no volume of {service}, so it would be lost")
    return machine.without_anything(command, f"DATA_DIR={machine.path('/var/lib/batchsite')}")


PROGRAMS: dict[str, Callable[[Machine, list[str]], list[str]]] = {
    "curl": curl,
    "docker": docker,
    "git": git,
    "install": install,
    "journalctl": journalctl,
    "make": make,
    "pip": pip,
    "podman": docker,
    "pre-commit": pre_commit,
    "python": python,
    "python3": python,
    "systemctl": systemctl,
    "systemd-analyze": systemd_analyze,
    "systemd-run": systemd_run,
    "useradd": useradd,
}
# What install.sh and entrypoint.sh need, and what changes nothing outside of the machine's folder.
REAL = ("cat", "chmod", "cp", "dirname", "env", "id", "mkdir", "rm", "sh")


def prepare(machine: Machine) -> None:
    """Make the folder of programs, and the two pipes through which they ask."""
    programs = machine.folder / "bin"
    programs.mkdir()
    for name in REAL:
        (programs / name).symlink_to(str(shutil.which(name)))
    for name in ("asked", "answer"):
        os.mkfifo(machine.folder / name)
    for name in (*PROGRAMS, "arrived", "finished"):
        stand_in(machine, programs / name)


def stand_in(machine: Machine, path: Path) -> None:
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(mode=0o755, exist_ok=True)
        folder.chmod(0o755)  # whatever the mask of the tests is
    ask = f"""printf '%s\\0' "${{0##*/}}" "$PWD" "$@" >'{machine.folder}/asked'"""
    path.write_text(f"""#!/bin/sh\n{ask}\neval "$(cat '{machine.folder}/answer')"\n""")
    path.chmod(0o755)


def answer(machine: Machine) -> bool:
    """Wait for one program to ask, and answer with what the shell then does. False if that has
    finished."""
    asked = (machine.folder / "asked").read_bytes().decode()
    program, here, *words = asked.removesuffix("\0").split("\0")
    does = ":"
    if program != "finished":
        machine.here = Path(here)
    if program in PROGRAMS:
        try:
            if command := PROGRAMS[program](machine, words):
                does = f"exec {shlex.join(command)}"
        except Exception as error:  # noqa: BLE001 - of any kind: the shell waits for an answer
            why = str(error) if isinstance(error, Refused) else repr(error)
            does = f"echo {shlex.quote(f'{program} {shlex.join(words)}: {why}')} >&2; exit 1"
    (machine.folder / "answer").write_text(does)
    return program != "finished"
