"""`make install`: what it says where something is missing, and what it leaves behind when it fails."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OLD = "#!/bin/sh\n[ \"$1\" = -V ] && echo 'Python 3.9.2' && exit 0\nexit 1\n"
# Says 3.11 when asked for its version, and fails when asked for venv: Debian without python3.11-venv.
WITHOUT_VENV = '#!/bin/sh\ncase "$2" in *version_info*) echo 3.11 ;; *) exit 1 ;; esac\n'
# Makes an environment whose pip refuses: a registry that doesn't answer.
WITHOUT_REGISTRY = """#!/bin/sh
case "$*" in
  *version_info*) echo 3.11 ;;
  *"ensurepip, venv"*) ;;
  "-m venv --clear .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  *"-m pip"*) echo "ERROR: no answer" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout, its path with a space in it, with what the installation reads."""
    root = tmp_path / "my checkout"
    (root / "requirements").mkdir(parents=True)
    for name in ("pyproject.toml", "requirements/install.sh", "requirements/build.txt", "requirements/dev.txt"):
        shutil.copy(ROOT / name, root / name)
    return root


def install(checkout: Path, pythons: dict[str, str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the script with these programs as the only Pythons on the PATH."""
    programs = checkout.parent / "bin"
    programs.mkdir(exist_ok=True)
    for tool in ("cat", "cksum", "dirname", "mkdir", "cp", "mv", "rm"):
        (programs / tool).unlink(missing_ok=True)
        (programs / tool).symlink_to(shutil.which(tool) or tool)
    for name, text in pythons.items():
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    return subprocess.run(
        ["/bin/sh", str(checkout / "requirements/install.sh")],
        env={"PATH": str(programs), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_python_it_says_what_to_install(checkout: Path) -> None:
    """No Python at all: one sentence, and nothing made."""
    done = install(checkout, {})
    assert done.returncode == 1
    assert done.stderr == "install: needs Python 3.11 or later with venv, and found none; on Debian: apt-get install python3 python3-venv\n"
    assert not (checkout / ".venv").exists()


def test_an_old_python_is_named_with_its_version(checkout: Path) -> None:
    """A Python that is too old: which one, and how to name another."""
    done = install(checkout, {"python3": OLD})
    assert done.returncode == 1
    assert done.stderr == (
        "install: needs Python 3.11 or later; python3 here is Python 3.9.2. If a newer one has another name: make install PYTHON=...\n"
    )


def test_a_chosen_python_that_is_too_old_is_refused(checkout: Path) -> None:
    """PYTHON=... is taken at its word, and not silently replaced by another."""
    done = install(checkout, {"python3": WITHOUT_REGISTRY, "old": OLD}, PYTHON="old")
    assert done.returncode == 1
    assert done.stderr == "install: PYTHON=old is not Python 3.11 or later\n"


def test_a_python_without_venv_is_told_apart(checkout: Path) -> None:
    """Debian's Python without its venv package: the package's name."""
    done = install(checkout, {"python3": WITHOUT_VENV})
    assert done.returncode == 1
    assert done.stderr == "install: python3 is Python 3.11 but has no venv and pip; on Debian: apt-get install python3.11-venv\n"


def test_a_failed_install_leaves_no_stamp(checkout: Path) -> None:
    """What did not install is not taken for installed: the next run takes it up again, and in the same environment."""
    first = install(checkout, {"python3": WITHOUT_REGISTRY})
    assert first.returncode == 1
    assert "ERROR: no answer" in first.stderr
    assert first.stderr.endswith("install: the build tools could not be installed; see above, then run make install again\n")
    assert not (checkout / ".venv/installed").exists()
    second = install(checkout, {"python3": WITHOUT_REGISTRY})
    assert second.returncode == 1
    assert "1/4" not in second.stderr


def test_an_installed_checkout_is_left_alone_until_a_lock_changes(checkout: Path) -> None:
    """The second time it does nothing and needs no network; a lock that changed makes it install again; a moved folder begins anew."""
    willing = WITHOUT_REGISTRY.replace("exit 1", "exit 0")
    assert install(checkout, {"python3": willing}).returncode == 0
    assert install(checkout, {}).stderr == ""
    with (checkout / "requirements/dev.txt").open("a", encoding="utf-8") as lock:
        lock.write("\n")
    assert "2/4" in install(checkout, {"python3": willing}).stderr
    moved = checkout.rename(checkout.parent / "elsewhere")
    assert "1/4" in install(moved, {"python3": willing}).stderr
