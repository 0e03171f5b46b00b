"""Metrics in a registry of their own, and a process that always says the same of itself."""

from __future__ import annotations

from pathlib import Path

from probes.core import Clock
from runner.sinks.metrics import Metrics
from runner.sinks.registry import TEXT, Registry, render
from tests.support.observations import Hands


class Counted(Metrics):
    """Metrics whose registry and page are at hand."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.registry = Registry()
        super().__init__(self.registry, clock or Hands(), "0.1.0")

    def page(self, content_type: str = TEXT) -> bytes:
        """What /metrics shows."""
        return render(self.registry, content_type)


def proc(folder: Path) -> str:
    """A /proc with one process in it, as ProcessCollector reads it."""
    here = folder / "self"
    (here / "fd").mkdir(parents=True)
    for number in range(3):
        (here / "fd" / str(number)).touch()
    fields = ["0"] * 50
    fields[11], fields[12], fields[19], fields[20], fields[21] = "1234", "567", "89012", "345678901", "2345"
    (here / "stat").write_text(f"1 (outrider) {' '.join(fields)}\n")
    (here / "limits").write_text("Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  4096  files\n")
    (folder / "stat").write_text("cpu 1 2 3\nbtime 1795000000\n")
    return str(folder)
