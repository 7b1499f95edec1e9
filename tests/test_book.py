"""The commands in the docs work: each is run by a shell, page by page, on a machine that is a
folder. `standins.py` has what stands in for programs that change a real machine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import takewhile
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.management import CommandError, get_commands, load_command_class
from django.utils import timezone
from django.utils.module_loading import import_string
from gunicorn.config import Config

from jobs.web.probes import PROBES

from .environment import OF_BOTO3, ROOT, setting_names
from .standins import PROGRAMS, Machine, Refused, answer, prepare, python, require
from .test_deploy import COPIED

# They start a site, and every other page is about one: the book begins with them.
FIRST = ("README.md", "docs/running/install.md", "docs/running/container.md")
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
NAMES = [str(page.relative_to(ROOT)) for page in sorted(PAGES)]
# What is no command. A block of another kind is run.
DATA = {"caddyfile", "ini", "json", "nginx", "python", "text", "yaml"}
ON_THE_MACHINE = re.compile(r"(?<![\w./~-])/(?=(?:backup|etc|mnt|opt|tmp|var)\b)")
# However a block ends, we hear of it.
SHELL = 'sh -euc "$1"; status=$?; finished; exit $status'
UNKNOWN = """
If that is a program, write a function for it in tests/standins.py that checks what it is given."""
COMPOSE = yaml.safe_load((ROOT / "compose.yml").read_text())["services"]


# Root opens every file, and who runs the site does not: run without that right.
AS_ANYONE: list[str] = []
if (setpriv := shutil.which("setpriv")) and os.geteuid() == 0:
    AS_ANYONE = [setpriv, "--bounding-set=-dac_override,-dac_read_search"]

# The sites in the docs start with a copy of the test database, which pytest-django only creates
# for tests with this mark.
pytestmark = [pytest.mark.no_database, pytest.mark.django_db]


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}, line {self.line}"


def blocks(page: str) -> Iterator[Block]:
    text = (ROOT / page).read_text()
    for found in re.finditer(r"^( *)```([^\n]*)\n(.*?)^\1```$", text, re.M | re.S):
        line = text.count("\n", 0, found.start()) + 2
        yield Block(page, line, found[2], textwrap.dedent(found[3]))


class Answers(BaseHTTPRequestHandler):
    """A site that is up and ready, for those who ask without a sign-in."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path in PROBES else 404)
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def machine(
    tmp_path_factory: pytest.TempPathFactory, empty_database: Path, address: str
) -> Machine:
    """With what a reader has after the first pages."""
    folder = tmp_path_factory.mktemp("machine")
    lists = [ROOT / "requirements.txt", ROOT / "tests" / "requirements.txt"]
    pins = "\n".join(one.read_text() for one in lists)
    machine = Machine(
        folder,
        sys.executable,
        address,
        variables={*setting_names(), *OF_BOTO3, *of_the_tests()},
        packages={*re.findall(r"(?m)^([\w.-]+)==", pins)},
        services={
            name: {
                "profiles": service.get("profiles", []),
                "volumes": [volume.split(":")[1] for volume in service["volumes"]],
            }
            for name, service in COMPOSE.items()
        },
        here=folder,
    )
    prepare(machine)
    for name in ("home", "etc/systemd/system", "mnt", "opt", "tmp", "var/lib"):
        (folder / name).mkdir(parents=True)
    data = folder / "var" / "lib" / "batchsite"
    data.mkdir(mode=0o700)
    (data / "journal.jsonl").write_text('{"kind": "begun"}\n')
    shutil.copy(empty_database, data / "batchsite.sqlite3")
    store_source(folder / "repository")
    (folder / "opt" / "batchsite" / "jobs").mkdir(parents=True)
    (folder / "opt" / "batchsite" / "jobs" / "of_the_old_version.py").touch()
    for page in FIRST:
        follow(page, machine)
    return machine


def of_the_tests() -> set[str]:
    """The variables that tests and measurements read."""
    texts = (path.read_text() for path in (ROOT / "tests").glob("*.py"))
    return {name for text in texts for name in re.findall(r'environ[^"\n]*"([A-Z_]+)"', text)}


def store_source(folder: Path) -> None:
    """What `git clone` gives: as root has it with umask 077."""
    folder.mkdir()
    for name in (*COPIED, "deploy", "Makefile", "compose.yml"):
        subprocess.run(["cp", "-R", str(ROOT / name), str(folder)], check=True)
    subprocess.run(["chmod", "-R", "go=", str(folder)], check=True)


def follow(page: str, machine: Machine) -> None:
    """Do what a page says, from its top to its end. A page without a clone of its own is about that
    of the README."""
    found = list(blocks(page))
    machine.here = clone_of(page, machine)
    if any("git clone" in block.text for block in found):
        machine.here = machine.here.parent
        machine.here.mkdir()
    for block in found:
        if block.kind in DATA:
            look_at(block, machine.here)
        else:
            run(block, machine)


def clone_of(page: str, machine: Machine) -> Path:
    clones = machine.folder / "home"
    name = page.replace("/", "-") if page in FIRST else FIRST[0]
    return clones / name / "batchsite"


def run(block: Block, machine: Machine) -> None:
    """Run a block in a shell, with the paths of our machine."""
    text = ON_THE_MACHINE.sub(f"{machine.folder}/", block.text)
    text = text.replace("<this repository>", str(machine.folder / "repository"))
    if block.kind == "cron":
        line = re.fullmatch(r"([\d*/,-]+ ){5}root ([^%\n]*)\n", text)
        assert line is not None, f"{block}: cron wants five times, who, and what without a %"
        text = line[2]
    for name in re.findall(r"(?m)^([A-Z_]+)=", text):
        assert name in machine.variables, f"{block}: nothing reads {name}"
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(
            [*AS_ANYONE, "/bin/sh", "-c", SHELL, "sh", f"{text}\narrived"],
            cwd=machine.here,
            env={
                "PATH": str(machine.folder / "bin"),
                "DATA_DIR": str(machine.folder / "var" / "lib" / "batchsite"),
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        ) as shell,
    ):
        while answer(machine):
            pass
        if status := shell.wait():
            output.seek(0)
            why = output.read() + (UNKNOWN if status == 127 else "")
            said = f"{block}:\n{block.text}\n{why}".replace(str(machine.folder), "")
            pytest.fail(said, pytrace=False)
    understand(block, machine)


def look_at(block: Block, here: Path) -> None:
    """A block of settings goes into the file of settings, one of Compose beside its own."""
    hidden = [line for line in block.text.splitlines() if is_command(line) or ".venv/" in line]
    assert not hidden, f"{block} is “{block.kind}”, and commands belong into a block “sh”: {hidden}"
    if block.kind == "ini":
        variables = {*re.findall(r"\$\{([A-Z_]+)", (ROOT / "compose.yml").read_text())}
        known = {*setting_names(), *variables, "COMPOSE_PROFILES"}
        names = {line.partition("=")[0] for line in block.text.splitlines()}
        assert names <= known, f"{block}: nothing reads {names - known}"
        with (here / ".env").open("a") as settings:
            settings.write(block.text)
    if block.kind == "yaml":
        content = yaml.safe_load(block.text)
        changed = content.get("services", {})
        assert set(changed) <= set(COMPOSE), f"{block}: compose.yml has no such service"
        keys = {key for service in changed.values() for key in service}
        assert keys <= set(COMPOSE["site"]), f"{block}: {keys}"


def gunicorn(_machine: Machine, words: list[str]) -> list[str]:
    """By its own parser."""
    given = Config().parser().parse_args(words)
    require(given.args == ["batchsite.wsgi"], f"no such application: {given.args}")
    import_string(given.worker_class)
    return []


INLINE = {**PROGRAMS, ".venv/bin/python": python, "gunicorn": gunicorn}


def is_command(line: str) -> bool:
    words = line.split()
    return len(words) > 1 and words[0] in INLINE


def commands_in_sentences(page: str) -> list[str]:
    """In code between words, with several parts each of its own. Those of manage.py are in
    test_docs.py."""
    text = re.sub(r"^ *```.*?^ *```", "", (ROOT / page).read_text(), flags=re.M | re.S)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]
    parts = [part.strip() for span in spans for part in re.split("; |&& ", span)]
    return [part for part in parts if is_command(re.sub(r"^([A-Z_]+=\S* )+", "", part))]


def check_only(command: str, machine: Machine) -> None:
    """What a sentence says: as far as possible without doing it."""
    words = shlex.split(ON_THE_MACHINE.sub(f"{machine.folder}/", command))
    names = [word.partition("=")[0] for word in takewhile(lambda word: "=" in word, words)]
    program, *words = words[len(names) :]
    assert set(names) <= machine.variables, f"nothing reads one of {names}"
    INLINE[program](machine, words)


def understand(where: object, machine: Machine) -> None:
    """Let the parsers of manage.py read what it was asked."""
    while machine.asked:
        name, *arguments = machine.asked.pop()
        if name == "version":
            continue  # Django has it without a parser
        assert name in get_commands(), f"{where}: manage.py has no command {name}"
        command = load_command_class(str(get_commands()[name]), name)
        try:
            command.create_parser("manage.py", name).parse_args(arguments)
        except CommandError as error:
            said = f"{where}: manage.py {name} {shlex.join(arguments)}: {error}"
            raise pytest.fail.Exception(said, pytrace=False) from None


FOLLOWED = [
    page
    for page in NAMES
    if commands_in_sentences(page) or any(block.kind not in DATA for block in blocks(page))
]


def test_what_is_installed_may_be_read_and_not_changed_by_the_site(machine: Machine) -> None:
    """After the first pages; install.sh was run once."""
    installed = machine.folder / "opt" / "batchsite"
    made = {".venv", "entrypoint.sh", "__pycache__"}
    assert {path.name for path in installed.iterdir()} == {*COPIED, *made}
    assert not [path for path in installed.rglob("*") if path.stat().st_mode & 0o022]
    assert not [path for path in installed.rglob("*") if not path.stat().st_mode & 0o004]
    assert list((installed / "jobs" / "__pycache__").iterdir()), "compiled"
    assert not (installed / "jobs" / "of_the_old_version.py").exists()


@pytest.mark.parametrize("page", FOLLOWED)
def test_what_a_page_tells_people_to_run_works(page: str, machine: Machine) -> None:
    if page not in FIRST:
        follow(page, machine)
    machine.here = clone_of(page, machine)
    for command in commands_in_sentences(page):
        try:
            check_only(command, machine)
        except Refused as refused:
            said = f"{page}: {command}: {refused}"
            raise pytest.fail.Exception(said, pytrace=False) from None
        understand(page, machine)


def test_every_block_says_what_it_is() -> None:
    kinds = {block.kind for page in NAMES for block in blocks(page)}
    assert kinds <= DATA | {"sh", "cron"}, "unlabelled blocks would not be looked at"
    fences = sum((ROOT / page).read_text().count("```") for page in NAMES)
    assert fences == 2 * sum(len(list(blocks(page))) for page in NAMES)


def test_what_the_commands_made_is_private(machine: Machine) -> None:
    backup, data = machine.folder / "backup", machine.folder / "var" / "lib" / "batchsite"
    assert list(backup.iterdir()) and backup.stat().st_mode & 0o077 == 0
    assert list(data.glob("before-restore-*"))


# --- By the programs themselves, where they are installed -----------------------------------------


def blocks_of(page: str, kind: str) -> list[str]:
    found = [block.text for block in blocks(page) if block.kind == kind]
    assert found
    return found


def program(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed, so its configuration was not checked")
    return path


def accepted(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nginx_takes_what_the_page_has(tmp_path: Path) -> None:
    nginx = program("nginx")
    server, zones = blocks_of("docs/running/install.md", "nginx")
    certificate, key = tmp_path / "batch.pem", tmp_path / "batch.key"
    write_certificate(certificate, key)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    scratch = " ".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in kinds)
    text = f"{zones}{server}".replace("/etc/ssl", str(tmp_path))
    text = f"pid {tmp_path}/pid; events {{}} http {{ access_log off; {scratch}\n{text}}}"
    (tmp_path / "nginx.conf").write_text(text)
    accepted(nginx, "-t", "-q", "-e", "stderr", "-p", tmp_path, "-c", tmp_path / "nginx.conf")


def write_certificate(certificate: Path, key: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "batch.example.org")])
    now = timezone.now()
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    kinds = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    key.write_bytes(private.private_bytes(*kinds, serialization.NoEncryption()))


def test_caddy_takes_what_the_page_has(tmp_path: Path) -> None:
    caddy = program("caddy")
    (text,) = blocks_of("docs/running/install.md", "caddyfile")
    (tmp_path / "Caddyfile").write_text(text)
    accepted(caddy, "validate", "--adapter", "caddyfile", "--config", tmp_path / "Caddyfile")


@pytest.mark.parametrize("page", ["container", "backup"])
def test_compose_takes_what_the_page_has(page: str, tmp_path: Path) -> None:
    docker = program("docker")
    if subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("Docker Compose is not installed, so its files were not checked")
    (text,) = blocks_of(f"docs/running/{page}.md", "yaml")
    (tmp_path / "override.yml").write_text(text)
    files = ("-f", ROOT / "compose.yml", "-f", tmp_path / "override.yml")
    accepted(docker, "compose", *files, "--profile", "postgres", "config", "--quiet")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("docker compose up --scale workers=3", "no service workers"),
        ("docker compose exec site /opt/batchsite/entrypoint.sh backup /backups", "in no volume"),
        ("docker compose run --rm site restore /backup", "still runs"),
        ("docker compose pause", "has no pause"),
        ("systemctl start batch-site", "no page has installed a unit batch-site"),
        ("systemctl reload batchsite", "no verb"),
        ("journalctl --unitt=batchsite", "no option --unitt"),
        ("install -d -o nobody-here /backup", "no user nobody-here"),
        ("make tests", "no target tests"),
        ("curl http://127.0.0.1:8080/readyz", "listens on"),
    ],
)
def test_a_wrong_command_is_noticed(wrong: str, said: str, machine: Machine) -> None:
    machine.here = clone_of("README.md", machine)
    with pytest.raises(Refused, match=said):
        check_only(wrong, machine)
