"""What a command doesn't need, it doesn't import: that is most of the time that it takes."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from pathlib import Path

import click
from click.testing import CliRunner

from runner.cli import outrider

_COUNTED = "import json, sys; {}; print(json.dumps(sorted(sys.modules)))"


async def imported(code: str) -> set[str]:
    """What a new process has imported after this code."""
    process = await create_subprocess_exec(sys.executable, "-c", _COUNTED.format(code), stdout=PIPE)
    out, _ = await process.communicate()
    return set(json.loads(out.decode().splitlines()[-1]))


def test_help_lists_the_commands_in_their_own_words() -> None:
    """The list is read from the files without importing them, and says what each command says of itself."""
    shown = CliRunner().invoke(outrider, ["--help"], terminal_width=200).output
    commands = {name: outrider.get_command(click.Context(outrider), name) for name in outrider.list_commands(click.Context(outrider))}
    assert len(commands) > 8
    for name, command in commands.items():
        assert command
        assert command.short_help
        assert f"  {name.ljust(max(map(len, commands)))}  {command.short_help}\n" in shown


async def test_help_imports_no_command() -> None:
    """`outrider --help` needs the command line alone."""
    modules = await imported(
        "from click.testing import CliRunner; from runner.cli import outrider; CliRunner().invoke(outrider, ['--help'])"
    )
    assert not {
        name for name in modules if name.startswith(("runner.cli.", "probes", "judge", "pydantic", "httpx", "rich", "importlib.metadata"))
    }


async def test_a_file_is_read_with_its_own_kinds(tmp_path: Path) -> None:
    """A file with a check of kind http imports no library of other kinds, nor the load generator's room."""
    file = tmp_path / "checks.yaml"
    text = "version: 1\nservice: x\nchecks: {api: {kind: http, url: 'http://127.0.0.1:9/'}}\n"
    await asyncio.to_thread(file.write_text, text, encoding="utf-8")
    modules = await imported(
        f"from pathlib import Path; from runner.config.read import read_plan; read_plan(Path({str(file)!r}), environ={{}})"
    )
    assert "probes.kinds.http" in modules
    assert not modules & {"probes.kinds.postgres", "asyncpg", "redis", "wsproto", "loadtests.order", "locust"}
