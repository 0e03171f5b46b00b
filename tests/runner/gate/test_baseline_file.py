from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.gate.baseline_file import load, save


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    """Durations to the microsecond, revisions as they were told, and where it comes from."""
    file = tmp_path / "folder" / "before.json"
    save(file, seconds={"api": (0.1234567, 2.0)}, revisions={"api": "3f2c91a"}, at=1_795_521_600.0, service="roadtrip")
    before = load(file)
    assert (before.durations, before.revisions) == ({"api": (0.123457, 2.0)}, {"api": "3f2c91a"})
    assert before.source == "before.json of 2026-11-24T12:00:00.000000Z"
    assert [one.name for one in file.parent.iterdir()] == ["before.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"version": 1}',
        '{"version": 1, "seconds": [], "revisions": {}}',
        '{"version": 1, "seconds": {"api": ["0.1"]}, "revisions": {}}',
        '{"version": 1, "seconds": {"api": [-1]}, "revisions": {}}',
        '{"version": 1, "seconds": {"api": [NaN]}, "revisions": {}}',
        json.dumps({"version": 2, "seconds": {}, "revisions": {}}),
    ],
)
def test_what_is_no_baseline_is_refused(tmp_path: Path, text: str) -> None:
    """With ValueError, never with nonsense in the comparison."""
    file = tmp_path / "before.json"
    file.write_text(text)
    with pytest.raises(
        ValueError,
        match=r"^outrider gate --save did not write this file$|^it was written by another version|^it has a duration that is not a number$",
    ):
        load(file)
