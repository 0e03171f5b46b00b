#!/bin/sh
# Writes the lock files beside this file from pyproject.toml: every package with its hashes, for every platform and for
# Python 3.11 and later. They contain no registry's address, so that each user's own pip configuration decides where
# packages come from. `make lock` calls it. `make lock UPGRADE=1` uses newer versions; without it the locked ones stay.
set -eu
cd "$(dirname "$0")/.."

UV=0.13.9  # another version may write another format
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

.venv/bin/python -m venv "$scratch"
"$scratch/bin/python" -m pip install --quiet --quiet --disable-pip-version-check "uv==$UV"

compile() {
    output=$1
    shift
    "$scratch/bin/uv" pip compile --quiet ${UPGRADE:+--upgrade} --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file "requirements/$output" "$@"
    echo "lock: requirements/$output" >&2
}

compile dev.txt pyproject.toml --all-extras --group dev
# The other lock files use the versions of dev.txt, so that the tested versions are the shipped ones.
compile build.txt --group build --constraint requirements/dev.txt
compile runtime.txt pyproject.toml --constraint requirements/dev.txt
compile load.txt pyproject.toml --extra load --constraint requirements/dev.txt
