# Begin with `make demo` and `make test`. Both create .venv first, from the lock files in requirements/.
.DEFAULT_GOAL := help
.PHONY: help install demo test check lint drift marked lock clean

# Keep compiled modules: the tests start the command often, and two workers import the same files.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
# Two workers, because CI has two cores. A test that needs more time or other programs has a marker, and runs in
# `check`.
WORKERS ?= 2
ARGS ?=

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile | expand -t 18

install: ## create .venv with everything for development (.venv/bin/outrider)
	@sh requirements/install.sh

demo: install ## run the stand-in and the runner together; ARGS="--duration 20s" passes arguments on
	@$(BIN)/outrider demo $(ARGS)

test: install ## run the quick tests, without a network; ARGS="-k redis" passes arguments on
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: lint drift marked ## run the other checks of CI: style, types, generated files, the long tests

lint: install ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/yamllint --strict .
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml infrastructure/loadtests/compose.yaml
	$(BIN)/kubernetes-validate --strict --quiet infrastructure/loadtests/k8s/*.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-actions .github/actions/*/action.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.gitlab-ci docs/ci/gitlab-ci.yml

drift: install ## fail if generated files are out of date, or checks.yaml does not fit its schema
	$(BIN)/outrider render --check
	$(BIN)/check-jsonschema --schemafile checks.schema.json checks.yaml

marked: install ## run the tests that take minutes, or need the programs of Prometheus, its exporter or a browser
	@BIN=$(BIN) WORKERS=$(WORKERS) sh .ci/marked $(ARGS)

lock: install ## write requirements/*.txt again, from pyproject.toml
	@sh requirements/lock.sh

clean: ## remove .venv and the caches of the tools
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
