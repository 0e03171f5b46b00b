"""What the benchmarks share: the target in a process of its own, and a checks.yaml with as many checks of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def target(*certificate: str) -> Iterator[tuple[str, ...]]:
    """The address of _target.py, and that over TLS where a certificate (a file with its key) is given. It ends with the context."""
    command = [sys.executable, str(Path(__file__).with_name("_target.py")), *certificate]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        ports = process.stdout.readline().split()
        yield tuple(f"{scheme}://127.0.0.1:{port}" for scheme, port in zip(("http", "https"), ports, strict=False))
        process.stdin.close()


def write_checks(folder: Path, url: str, count: int, interval: float, *, port: int = 0, timeout: float = 2.0, more: str = "") -> Path:
    """A checks.yaml with `count` plain HTTP checks of a URL, a runner at this port, and its state in the folder. Its path.

    Times in seconds. `more` are further settings of each check, as YAML.
    """
    file = folder / "checks.yaml"
    lines = [f"version: 1\nservice: bench\nserver: {{listen: '127.0.0.1:{port}'}}\nstate: {folder}/state\nreferences: []"]
    lines += [f"defaults: {{interval: {interval:g}s, timeout: {min(timeout, interval):g}s}}\nchecks:"]
    lines += [f"  c{number:05}: {{kind: http, url: '{url}'{more}}}" for number in range(count)]
    file.write_text("\n".join(lines))
    return file
