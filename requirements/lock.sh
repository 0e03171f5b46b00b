#!/bin/sh
# Writes the locks beside this file from pyproject.toml: every package with its hashes, for every platform and Python
# from 3.11 on, and without a registry's address, so that each user's own pip configuration says where packages come
# from. `make lock` calls it; `make lock UPGRADE=1` takes newer versions, otherwise those in the locks are kept.
set -eu
cd "$(dirname "$0")/.."

UV=0.13.9  # the lock's form may change with it
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
# The others follow dev.txt, so that what is tested is what is shipped.
compile build.txt --group build --constraint requirements/dev.txt
compile runtime.txt pyproject.toml --constraint requirements/dev.txt
compile load.txt pyproject.toml --extra load --constraint requirements/dev.txt
