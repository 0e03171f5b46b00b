"""What a shell completes after Tab: names of checks, parts, tags and scenarios of checks.yaml.

The file is read as YAML alone: no variable is needed, and a file with errors completes as far as it can be read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def _completing(names: Callable[[dict[str, Any]], Iterable[str]]) -> Complete:
    def complete(ctx: click.Context, _: click.Parameter, begun: str) -> list[str]:
        path = ctx.params.get("config") or os.environ.get("OUTRIDER_CONFIG") or "checks.yaml"
        return [name for name in dict.fromkeys(names(_read(Path(path)))) if name.startswith(begun)]

    return complete


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        read = yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    if not isinstance(read, dict):
        return {}
    more = "include" in read or any("for_each" in check for check in _section(read, "checks").values())
    return _expanded(path, read) if more else read


def _expanded(path: Path, read: dict[str, Any]) -> dict[str, Any]:
    """With what the file includes and what for_each makes; the file alone where something of them is wrong. Imports for 0.3 s."""
    from runner.config import include
    from runner.config.errors import PlanError
    from runner.config.for_each import expand
    from runner.config.nodes import Keys, plain
    from runner.config.target_files import TargetFiles
    from runner.config.validation import Reading

    try:
        root = include.read(path).root
    except PlanError:
        return read
    checks = root.get("checks")
    found = expand(Reading(path, root, {}, targets=TargetFiles(keep=True)), checks.entries if isinstance(checks, Keys) else {})
    groups: dict[str, Any] = {name: {} for name in found.names if name not in found.entries}
    return {**plain(root), "checks": groups | {name: plain(entry.node) for name, entry in found.entries.items()}}


def _section(read: Any, name: str) -> dict[str, dict[str, Any]]:
    section = read.get(name) if isinstance(read, dict) else None
    return {str(key): value if isinstance(value, dict) else {} for key, value in section.items()} if isinstance(section, dict) else {}


def _tags(read: dict[str, Any]) -> Iterable[str]:
    for check in _section(read, "checks").values():
        tags = check.get("tags")
        yield from (str(tag) for tag in tags) if isinstance(tags, list) else ()


CHECK = _completing(lambda read: _section(read, "checks"))
TAG = _completing(_tags)
SCENARIO = _completing(lambda read: _section(read.get("load"), "scenarios"))
