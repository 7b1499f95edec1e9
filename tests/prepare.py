"""Find or install what some tests need from the machine: a Chromium, a PostgreSQL server, a
LibreOffice.

Each function tries what is there, then what it may install, each within a time limit, and raises
NotAvailable with the reason where nothing helps: the other tests then run without it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

INSTALL_SECONDS = 300
MIGRATED = "migrated"  # a database beside ours, to be copied once it is up to date


class NotAvailable(Exception):
    """Something cannot be had on this machine; the text says why."""


# --- Chromium -------------------------------------------------------------------------------------


def get_chromium() -> Path:
    """A Chromium that starts. Raises NotAvailable."""
    found = find_chromium()
    if found:
        return found
    reasons = []
    for install in (install_chromium_package, install_playwright_chromium):
        try:
            install()
        except NotAvailable as error:
            reasons.append(str(error))
        if found := find_chromium():
            return found
    raise NotAvailable("no Chromium was found, and " + "; ".join(reasons))


def find_chromium() -> Path | None:
    if chosen := os.environ.get("CHROMIUM"):
        return Path(chosen) if starts(chosen) else None
    # The first has no window that nobody sees, and takes two thirds of the processor time.
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    candidates = [path for name in names if (path := shutil.which(name))]
    downloads = os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache/ms-playwright"
    candidates += map(str, sorted(Path(downloads).glob("chromium-*/chrome-linux*/chrome")))
    return next((Path(path) for path in candidates if starts(path)), None)


def starts(chromium: str) -> bool:
    """A program of that name may be there and be a stub that asks for a snap."""
    with tempfile.TemporaryDirectory() as profile:
        command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        command += ["--disable-background-networking", f"--user-data-dir={profile}", "about:blank"]
        try:
            answer = subprocess.run(command, capture_output=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
    return answer.returncode == 0 and b"<html" in answer.stdout


def install_chromium_package() -> None:
    try:
        apt_install("chromium-headless-shell")
    except NotAvailable:  # Ubuntu, and Debian before 12, have no such package
        apt_install("chromium")


def install_playwright_chromium() -> None:
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    run("playwright could not download one", command)


# --- PostgreSQL -----------------------------------------------------------------------------------


def get_postgres() -> Path:
    """The folder of PostgreSQL's server programs. Raises NotAvailable."""
    found = find_postgres()
    if found:
        return found
    try:
        install_postgres_package()
    except NotAvailable as error:
        raise NotAvailable(f"no PostgreSQL server was found, and {error}") from error
    found = find_postgres()
    if not found:
        raise NotAvailable("the package of PostgreSQL brought no server programs")
    return found


def find_postgres() -> Path | None:
    packaged = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: float(path.parts[-3]),
        reverse=True,
    )
    on_path = shutil.which("initdb")
    programs = [Path(on_path).resolve()] if on_path else packaged
    return programs[0].parent if programs else None


def install_postgres_package() -> None:
    # Without this file Debian's package starts a server for everyone on the machine.
    folder = "/etc/postgresql-common"
    if not Path(folder).exists():
        quiet = (
            f"mkdir -p {folder} && echo create_main_cluster = false > {folder}/createcluster.conf"
        )
        run("PostgreSQL could not be configured", [*as_root(), "sh", "-c", quiet])
    apt_install("postgresql")


@contextmanager
def postgres(programs: Path, network: str = "", port: int = 5432) -> Iterator[str]:
    """A PostgreSQL server of our own, reached through a socket in a scratch folder; gives its
    DATABASE_URL. It also listens to `network`, if there is one. Nothing of it is left. Raises
    NotAvailable when it does not start."""
    # Under /tmp, because the path of a socket is limited to about 100 characters.
    with tempfile.TemporaryDirectory(prefix="batchsite-", dir="/tmp") as folder:
        user = None
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            user = unprivileged_user()
            os.chown(folder, user, -1)
        data = Path(folder, "data")
        control = [str(programs / "pg_ctl"), "--pgdata", str(data), "--wait", "--silent"]
        # Nobody needs these data after a power cut.
        fast = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        listen = f"-c unix_socket_directories={folder} -c port={port}"
        listen += f" -c listen_addresses={'*' if network else ''} -c max_connections=400"
        initdb = [str(programs / "initdb"), "--pgdata", str(data), "--username=batchsite"]
        initdb += ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        run("initdb failed", initdb, user=user)
        if network:
            with Path(data, "pg_hba.conf").open("a") as rules:
                rules.write(f"host all all {network} trust\n")
        start = [*control, "--options", f"{fast} {listen}", "--log", f"{folder}/log", "start"]
        run("the PostgreSQL server did not start", start, user=user)
        try:
            create = [str(programs / "createdb"), "--host", folder, f"--port={port}"]
            create += ["--username=batchsite"]
            for name in ("batchsite", MIGRATED):
                run("createdb failed", [*create, name], user=user)
            yield f"postgres://batchsite@/batchsite?host={folder}&port={port}"
        finally:
            with suppress(NotAvailable):
                run("the server did not stop", [*control, "--mode=immediate", "stop"], user=user)


def unprivileged_user() -> int:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise NotAvailable("PostgreSQL does not run as root, and there is no other user")


# --- LibreOffice ----------------------------------------------------------------------------------


def get_libreoffice() -> None:
    """Have `soffice` on the path, with what reads tables. Raises NotAvailable."""
    if shutil.which("soffice"):
        return
    try:
        apt_install("libreoffice-calc-nogui")
    except NotAvailable as error:
        raise NotAvailable(f"no LibreOffice was found, and {error}") from error


# --- Installing -----------------------------------------------------------------------------------


def apt_install(package: str) -> None:
    """Raises NotAvailable."""
    if not shutil.which("apt-get"):
        raise NotAvailable("there is no apt-get to install it with")
    try:
        root = as_root()
    except NotAvailable as error:
        raise NotAvailable(f"{error} (sudo apt-get install {package})") from error
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    apt += ["-o", "DPkg::Lock::Timeout=60"]
    say(f"Installing {package}")
    run("apt-get update failed", [*apt, "update"])
    install = [*apt, "install", "--yes", "--no-install-recommends", package]
    run(f"apt-get could not install {package}", install)


def as_root() -> list[str]:
    """What to put before a command that needs root. Raises NotAvailable."""
    if os.geteuid() == 0:
        return []
    sudo = [shutil.which("sudo") or "sudo", "-n"]
    try:
        subprocess.run([*sudo, "true"], capture_output=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        raise NotAvailable("it can only be installed by the administrator") from None
    return sudo


def run(failure: str, command: Sequence[str], user: int | None = None) -> None:
    """Raises NotAvailable with `failure` and the last line that the command wrote."""
    # To a file, not a pipe: a server that the command leaves behind would keep a pipe open.
    with tempfile.TemporaryFile() as output:
        try:
            status = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=INSTALL_SECONDS,
                user=user,
                cwd="/",
                check=False,
            ).returncode
        except OSError as error:
            raise NotAvailable(f"{failure} ({error})") from error
        except subprocess.TimeoutExpired:
            raise NotAvailable(f"{failure} within {INSTALL_SECONDS} seconds") from None
        output.seek(0)
        lines = output.read().decode(errors="replace").split("\n")
    if status:
        words = [line.strip() for line in lines if line.strip() and not line.startswith("    at ")]
        last = words[-1] if words else ""
        raise NotAvailable(f"{failure} ({last or f'status {status}'})")


def say(text: str) -> None:
    print(text, flush=True)
