# Two commands: `make repro` rebuilds everything, `make test` runs the tests.
# Both set up what is missing first (tools/bootstrap.sh).

SHELL := /bin/sh
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Arguments for the command underneath: make repro ARGS="train@cnn_separator", make test ARGS=--slow
ARGS ?=

.PHONY: help setup spleeter repro plots compare gate test bench lint lock clean

help:
	@echo "make repro   set up, then run every stage whose inputs changed (dvc repro)"
	@echo "make plots   redraw the boxplots and training curves from the tracked tables alone"
	@echo "make compare what changed since REV (make compare REV=origin/main), in build/compare"
	@echo "make gate    fail where a method's scores fell since REV"
	@echo "make test    set up, then run the tests (ARGS=--slow: the slow ones too)"
	@echo "make bench   every step's speed beside its baseline, with limits (ARGS='--music FOLDER'; build/bench.json)"
	@echo "make setup   the environment alone"
	@echo "make spleeter   the separate environment of the method spleeter (made on demand otherwise)"
	@echo "make lint    ruff, types (mypy), layers (import-linter), shellcheck, and zizmor and the schema on the workflows"
	@echo "make lock    compile requirements.txt from pyproject.toml"
	@echo "make clean   remove the environment and all scratch (data and models stay)"

setup:
	@tools/bootstrap.sh

spleeter:
	@tools/spleeter.sh

repro: setup
	dvc repro $(ARGS)

# No data, model or DVC cache is needed: what the stage reads is in Git.
plots: setup
	dvc repro --force --single-item plots

# The revision that compare and gate look back to.
REV ?=

compare: setup
	@tools/compare.sh '$(REV)'

gate: setup
	@svs gate --against '$(or $(REV),HEAD)' $(ARGS)

test: setup
	python -m pytest $(ARGS)

# Two files are compared by: python -m benchmarks --compare OLD.json NEW.json
bench: setup
	python -m benchmarks --json build/bench.json $(ARGS)

lint: setup
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	shellcheck --severity=warning .ci/run tools/*.sh
	zizmor --offline --quiet .github
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

# The local part of torch's version (+cpu) names one index's build; the lock must install from any.
lock: setup
	python -m pip install --quiet pip-tools
	pip-compile --quiet --extra app --extra test --strip-extras --no-header --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --output-file requirements.tmp pyproject.toml
	sed 's/+cpu$$//' requirements.tmp > requirements.txt
	rm requirements.tmp

clean:
	rm -rf .venv .cache logs dvc_plots .svs-setup.lock
