# Two commands to begin with: `make demo` and `make test`. Each makes .venv first, from the locks in requirements/.
.DEFAULT_GOAL := help
.PHONY: help install demo test check lint drift marked lock clean

# Compiled modules are kept: the tests start this command often, and two workers import the same files.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
# Two workers, as CI has two cores; a test that needs more time or other programs carries a marker, and runs in `check`.
WORKERS ?= 2
ARGS ?=

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile | expand -t 18

install: ## make .venv with everything for development in it (.venv/bin/outrider)
	@sh requirements/install.sh

demo: install ## the stand-in and the runner together; ARGS="--duration 20s" passes arguments on
	@$(BIN)/outrider demo $(ARGS)

test: install ## the tests, under a minute and without a network; ARGS="-k redis" passes arguments on
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: lint drift marked ## what CI runs beside the tests: style, types, drift, the long tests

lint: install ## style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/yamllint --strict .
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml infrastructure/loadtests/compose.yaml
	$(BIN)/kubernetes-validate --strict --quiet infrastructure/loadtests/k8s/*.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-actions .github/actions/*/action.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.gitlab-ci docs/ci/gitlab-ci.yml

drift: install ## fail where generated files are stale, or checks.yaml isn't what its schema says
	$(BIN)/outrider render --check
	$(BIN)/check-jsonschema --schemafile checks.schema.json checks.yaml

marked: install ## the tests that take minutes, or need Prometheus' programs or a browser
	@BIN=$(BIN) WORKERS=$(WORKERS) sh .ci/marked $(ARGS)

lock: install ## write requirements/*.txt anew, from pyproject.toml
	@sh requirements/lock.sh

clean: ## remove .venv and what tools left behind
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
