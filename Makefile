# Two commands: `make repro` rebuilds everything, `make test` runs the tests.
# Both first set up what is missing (tools/bootstrap.sh).

SHELL := /bin/sh
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Arguments for the command underneath: make repro ARGS="train@cnn_separator", make test ARGS=--slow
ARGS ?=

.PHONY: help setup spleeter repro plots compare gate test test-core test-wheel bench results docs docs-outputs lint lock clean

help:
	@echo "make repro     set up, then run every stage whose inputs changed (dvc repro)"
	@echo "make plots     redraw the boxplots and training curves from the tables in Git"
	@echo "make compare   write what changed since REV into build/compare (make compare REV=origin/main)"
	@echo "make gate      fail if the scores of a method fell since REV"
	@echo "make test      set up, then run the fast tests (ARGS=--slow: all tests)"
	@echo "make test-core   the tests of what \`pip install svs\` installs, on PYTHON (any of 3.10 to 3.13)"
	@echo "make test-wheel  install the wheel into fresh environments, and separate a song there"
	@echo "make bench     measure every step's speed beside its baseline, with limits (ARGS='--music FOLDER')"
	@echo "make results   write the tables and the figure of README and the Results page from results/ (FROM=PROJECT: take those of a run first)"
	@echo "make docs-outputs  run the commands of the guides and write what they print (ARGS=--check: compare)"
	@echo "make docs      build the documentation as a site in build/site"
	@echo "make setup     set up the environment only"
	@echo "make spleeter  set up the separate environment of the method spleeter (otherwise made on first use)"
	@echo "make lint      check the code, its format, types and layers, the shell scripts, the workflow and the licences"
	@echo "make lock      compile requirements.txt from pyproject.toml"
	@echo "make clean     remove the environment and temporary files (data and models stay)"

setup:
	@tools/bootstrap.sh

spleeter:
	@tools/spleeter.sh

repro: setup
	dvc repro $(ARGS)

# Needs no data, model or DVC cache: the stage reads only files that are in Git.
plots: setup
	dvc repro --force --single-item plots

# The revision that compare and gate compare with.
REV ?=

compare: setup
	@tools/compare.sh '$(REV)'

gate: setup
	@svs gate --against '$(or $(REV),HEAD)' $(ARGS)

# On all cores, a file at a time: the tests of a file share what is slow to make.  For one process: ARGS=-n0.
test: setup
	python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(ARGS)

# The tests that need the core and the extra `test` alone, in an environment of its own.
PYTHON ?= python3
test-core:
	@$(PYTHON) -m venv build/core
	@build/core/bin/python -m pip install --disable-pip-version-check --quiet --editable '.[test]'
	build/core/bin/python -m pytest $(ARGS) @tests/core.txt

test-wheel:
	@tools/wheel.sh

# To compare two runs: python -m benchmarks --compare OLD.json NEW.json
bench: setup
	python -m benchmarks --json build/bench.json $(ARGS)

# The tables of real music in README and docs/results.md.
FROM ?=
results: setup
	python tools/results.py $(if $(FROM),--from '$(FROM)')

# Needs the trained networks and MUSDB18's previews; without the previews it compares nothing.
docs-outputs: setup
	python tools/outputs.py $(ARGS)

# A broken link is an error.  The site opens from disk: build/site/index.html.
docs: setup
	mkdocs build --strict

lint: setup
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	shellcheck --severity=warning .ci/run tools/*.sh
	zizmor --offline --quiet .github
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	reuse lint --lines

# The local part of torch's version (+cpu) exists in one index only; the lock must install from any index.  svs itself, which
# its extras name, is installed from the checkout.
# pesq is compiled where it is installed, so the lock leaves it out.  Versions stay as they are where they fit; ARGS=--upgrade takes the newest.
lock: setup
	python -m pip install --quiet pip-tools hatchling
	cp requirements.txt requirements.tmp
	pip-compile --quiet $(ARGS) --extra all,docs,lint,remotes,test --strip-extras --no-header --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --output-file requirements.tmp pyproject.toml
	sed -e '/^svs @ /,/^[^ ]/{/^svs @ /d;/^ /d;}' -e 's/+cpu$$//' requirements.tmp > requirements.txt
	rm requirements.tmp

clean:
	rm -rf .venv .cache logs dvc_plots .svs-setup.lock
