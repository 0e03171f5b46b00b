"""The locks of requirements/: whole, exact, and silent about where packages come from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_PIN = re.compile(r"([A-Za-z0-9._-]+)==([^ ;\\]+)")


def pins(lock: Path) -> dict[str, set[str]]:
    """The versions of each package in a lock; more than one where platforms differ."""
    found: dict[str, set[str]] = {}
    for name, version in _PIN.findall(lock.read_text(encoding="utf-8")):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


def group(name: str) -> list[str]:
    """The requirements of a dependency group, the groups that it includes resolved."""
    entries = PROJECT["dependency-groups"][name]
    return [r for entry in entries for r in (group(entry["include-group"]) if isinstance(entry, dict) else [entry])]


RUNTIME: list[str] = PROJECT["project"]["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
WANTED = {
    "build.txt": [*group("build"), *PROJECT["build-system"]["requires"]],
    "dev.txt": [*RUNTIME, *(r for extra in EXTRAS.values() for r in extra), *group("dev")],
    "load.txt": [*RUNTIME, *EXTRAS["load"]],
    "runtime.txt": RUNTIME,
}


def test_the_locks_are_those_that_the_commands_use() -> None:
    """A lock that nobody checks is not there, and none is missing."""
    assert [lock.name for lock in LOCKS] == sorted(WANTED)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_names_no_address(lock: Path) -> None:
    """Where packages come from is each machine's own affair: a lock holds no address and no option of an index."""
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links|--trusted-host)\b", text, re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_package_of_a_lock_is_pinned_with_hashes(lock: Path) -> None:
    """Each entry is name==version and at least one sha256: what is installed is what was tested."""
    entries = re.split(r"\n(?=\S)", lock.read_text(encoding="utf-8").strip())
    assert [entry.splitlines()[0] for entry in entries if not _PIN.match(entry) or "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_holds_what_pyproject_asks_for(lock: Path) -> None:
    """Every dependency stands in its lock at a version that pyproject.toml allows; otherwise `make lock` was forgotten."""
    locked, wanted = pins(lock), [*map(Requirement, WANTED[lock.name])]
    for requirement in wanted:
        versions = locked.get(canonicalize_name(requirement.name))
        assert versions, f"{requirement.name} is not in {lock.name}; run make lock"
        # Where platforms differ, a package stands there once for each of them.
        asked = [other.specifier for other in wanted if canonicalize_name(other.name) == canonicalize_name(requirement.name)]
        assert all(any(one.contains(version, prereleases=True) for one in asked) for version in versions), (
            f"{requirement}: {versions}; run make lock"
        )
        assert any(requirement.specifier.contains(version, prereleases=True) for version in versions), f"{requirement}; run make lock"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
@pytest.mark.slow
def test_all_locks_agree_with_the_one_that_is_tested(lock: Path) -> None:
    """What is shipped is what is tested: no lock has another version of a package than dev.txt."""
    tested = pins(ROOT / "requirements/dev.txt")
    assert {name: versions for name, versions in pins(lock).items() if versions != tested.get(name, versions)} == {}


def test_the_image_gets_no_package_of_the_demo_or_the_load_tests() -> None:
    """The runtime's lock holds neither an embedded server nor Locust, which would patch the standard library."""
    demo_and_load = {canonicalize_name(Requirement(r).name) for extra in EXTRAS.values() for r in extra}
    assert demo_and_load & set(pins(ROOT / "requirements/runtime.txt")) == set()
