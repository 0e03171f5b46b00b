"""What a person or a program reads of a result. A file that holds `FORMAT` is one format of a gate's report; the option has its name.

`formats()` is the only registry: `outrider gate --NAME [FILE]` asks for any number of them at once. `waterfall` and
`observations` write single observations, for `outrider probe`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from judge.report import Report


@dataclass(frozen=True, slots=True)
class Appended:
    """What goes to the end of a file that an environment variable names. `write` gets the report and the bytes that are left."""

    write: Callable[[Report, int], str]
    cap: int  # bytes that the file may have in all


@dataclass(frozen=True, slots=True)
class Format:
    """How a report is written. `write` gives the whole text, with its last line's end.

    `beside` says that its lines may stand on standard output beside the table. `paths_from` is the environment variable of the folder
    from which its reader takes the path of checks.yaml.
    """

    help: str
    write: Callable[[Report], str]
    appended: Mapping[str, Appended] = field(default_factory=dict)  # by environment variable
    beside: bool = False
    paths_from: str = ""


def formats() -> dict[str, Format]:
    """Every format by its name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    found = {name: getattr(importlib.import_module(f"{__name__}.{name}"), "FORMAT", None) for name in names}
    return {name: form for name, form in found.items() if form is not None}


def path_below(folder: str, file: str) -> str:
    """A file's path from this folder. What lies elsewhere, or on no disk of this machine (a runner's own file), keeps its path."""
    path, above = Path(file).resolve(), Path(folder).resolve()
    return path.relative_to(above).as_posix() if path.exists() and path.is_relative_to(above) else file


def deliver(form: Format, report: Report, file: str, *, environ: Mapping[str, str], out: Callable[[str], None]) -> None:
    """Writes a report to a file, or to `out` where the file is `-`, and into the files that the environment names. Raises OSError."""
    if folder := environ.get(form.paths_from, ""):
        report = replace(report, file=path_below(folder, report.file))
    text = form.write(report)
    if file == "-":
        out(text)
    else:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(text, encoding="utf-8")
    for variable, appended in form.appended.items():
        if name := environ.get(variable):
            shared = Path(name)
            room = appended.cap - (shared.stat().st_size if shared.exists() else 0)
            with shared.open("a", encoding="utf-8") as opened:
                opened.write(appended.write(report, room))
