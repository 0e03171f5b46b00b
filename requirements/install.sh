#!/bin/sh
# Creates .venv with everything for development, from the lock files beside this file. `make install` calls it.
#
# If nothing has changed, it is quick and needs no network: .venv/installed contains a fingerprint of the input, and
# is written last. So an installation that failed or was interrupted is repeated the next time. PYTHON=... chooses
# another Python.
set -eu
cd "$(dirname "$0")/.."

VENV=.venv
STAMP=$VENV/installed
OLDEST="3.11"

# Settings of another Python must not change this one.
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP PIP_TARGET PIP_PREFIX PIP_USER PIP_REQUIRE_VIRTUALENV 2>/dev/null || true
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore

say() { printf 'install: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Prints "major.minor" of a Python that is 3.11 or later. Fails for anything else, also for a command that doesn't
# exist.
version_of() {
    "$1" -c 'import sys; sys.version_info >= (3, 11) or sys.exit(1); print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# The Pythons to try. Up to 3.12 all packages exist as wheels; above, Redis is compiled, so those versions come last.
candidates() {
    if [ -n "${PYTHON:-}" ]; then
        echo "$PYTHON"
    else
        case "$(version_of python3)" in 3.11 | 3.12) echo python3 ;; esac
        printf '%s\n' python3.12 python3.11 python3 python3.13 python3.14
    fi
}

find_python() {
    without_venv=""
    for name in $(candidates); do
        version_of "$name" >/dev/null || continue
        if has_venv "$name"; then
            echo "$name"
            return
        fi
        without_venv=${without_venv:-$name}
    done
    if [ -n "$without_venv" ]; then
        die "$without_venv is Python $(version_of "$without_venv") but has no venv and pip; on Debian: apt-get install python$(version_of "$without_venv")-venv"
    fi
    if [ -n "${PYTHON:-}" ]; then
        die "PYTHON=$PYTHON is not Python $OLDEST or later"
    fi
    if command -v python3 >/dev/null 2>&1; then
        die "needs Python $OLDEST or later; python3 here is $(python3 -V 2>&1). If a newer one has another name: make install PYTHON=..."
    fi
    die "needs Python $OLDEST or later with venv, and found none; on Debian: apt-get install python3 python3-venv"
}

# The input of the environment: the lock files, the project's metadata, and the path (scripts in .venv contain it).
fingerprint() {
    { pwd; cat pyproject.toml requirements/build.txt requirements/dev.txt requirements/install.sh; } | cksum
}

# --quiet twice: errors only. Warnings about the machine's own pip configuration don't concern this project.
pip() { "$VENV/bin/python" -m pip install --quiet --quiet "$@"; }

made_here() { [ -f "$VENV/place" ] && [ "$(cat "$VENV/place")" = "$(pwd)" ]; }

make_venv() {
    if made_here && version_of "$VENV/bin/python" >/dev/null && "$VENV/bin/python" -c 'import pip' 2>/dev/null; then
        return
    fi
    python=$(find_python) || exit 1
    say "1/4 creating $VENV with $python (Python $(version_of "$python"))"
    "$python" -m venv --clear "$VENV" || die "$python could not create $VENV; see above"
    pwd >"$VENV/place"
}

fill_venv() {
    say "2/4 build tools"
    pip --require-hashes --requirement requirements/build.txt || die "the build tools could not be installed; see above, then run make install again"
    case "$(version_of "$VENV/bin/python")" in
        3.11 | 3.12) say "3/4 packages for Outrider, its demo and its tests: about 100 MB the first time" ;;
        *) say "3/4 packages for Outrider, its demo and its tests; Redis may be compiled, which takes a minute and needs gcc and make" ;;
    esac
    # The build tools are locked too, so that no package downloads others while it is built.
    pip --require-hashes --no-build-isolation --requirement requirements/dev.txt || die "a package could not be installed; see above, then run make install again"
    say "4/4 Outrider itself"
    pip --no-deps --no-build-isolation --editable . || die "Outrider itself could not be installed; see above"
}

wanted=$(fingerprint)
if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$wanted" ]; then
    exit 0
fi
rm -f "$STAMP"
make_venv
fill_venv
printf '%s\n' "$wanted" >"$STAMP.new"
mv "$STAMP.new" "$STAMP"
say "done: $VENV/bin/outrider"
