from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of checks, its first lines given."""

    def write(text: str, name: str = "checks.yaml") -> Path:
        file = tmp_path / name
        file.write_text(f"version: 1\n{text}")
        return file

    return write
