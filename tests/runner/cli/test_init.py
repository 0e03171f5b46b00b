"""`outrider init` writes a first file that the other commands take, and harms none that is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from runner.cli import outrider


def test_a_first_file_is_written_and_valid(tmp_path: Path) -> None:
    """U3: what an empty file's error tells to type exists, and what it writes validates."""
    file = tmp_path / "checks.yaml"
    written = CliRunner().invoke(outrider, ["init", "--config", str(file), "--url", "https://shop.example:8443/app"])
    assert (written.exit_code, written.output) == (0, f"{file} is written. Next: outrider validate, then outrider probe\n")
    valid = CliRunner().invoke(outrider, ["validate", "--config", str(file)])
    assert valid.exit_code == 0, valid.output
    assert '"https://shop.example:8443/app"' in file.read_text()


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    """U3: nothing is overwritten."""
    file = tmp_path / "checks.yaml"
    file.write_text("mine")
    refused = CliRunner().invoke(outrider, ["init", "--config", str(file)])
    assert refused.exit_code == 2
    assert "is there already" in refused.output
    assert file.read_text() == "mine"


@pytest.mark.parametrize("there", ["", "\n\n", "# by the ops team"])
def test_a_file_without_settings_gets_them(there: str, tmp_path: Path) -> None:
    """U3: `validate` says of such a file that it is empty, and that init writes a first one; comments stay."""
    file = tmp_path / "checks.yaml"
    file.write_text(there)
    assert "is empty; outrider init" in CliRunner().invoke(outrider, ["validate", "--config", str(file)]).output
    written = CliRunner().invoke(outrider, ["init", "--config", str(file)])
    assert written.exit_code == 0, written.output
    assert file.read_text().startswith(there)
    valid = CliRunner().invoke(outrider, ["validate", "--config", str(file)])
    assert valid.exit_code == 0, valid.output


@pytest.mark.parametrize("url", ["ftp://h/", "http://h:80x/", "http://me:Tops3cret@h/", "http://h/?key=Tops3cret", "${URL}", ""])
def test_an_address_that_does_not_belong_there_is_refused(url: str, tmp_path: Path) -> None:
    """U3: no secret is written into a file that is committed."""
    refused = CliRunner().invoke(outrider, ["init", "--config", str(tmp_path / "checks.yaml"), "--url", url])
    assert refused.exit_code == 2
    assert "--url" in refused.output
    assert "Tops3cret" not in refused.output
    assert not (tmp_path / "checks.yaml").exists()


def test_a_file_that_is_missing_or_empty_says_what_to_do(tmp_path: Path) -> None:
    """U3, GM8: the option, the variable and the command are named."""
    missing = CliRunner().invoke(outrider, ["validate", "--config", str(tmp_path / "checks.yaml")])
    assert missing.exit_code == 2
    for word in ("--config", "OUTRIDER_CONFIG", "outrider init"):
        assert word in missing.output
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    empty = CliRunner().invoke(outrider, ["validate", "--config", str(tmp_path / "empty.yaml")])
    assert "is empty; outrider init writes a first one" in empty.output
