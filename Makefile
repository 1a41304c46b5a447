# Two commands: `make repro` rebuilds everything, `make test` runs the tests.
# Both set up what is missing first (tools/bootstrap.sh).

SHELL := /bin/sh
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Arguments for the command underneath: make repro ARGS="train@cnn_separator", make test ARGS=--slow
ARGS ?=

.PHONY: help setup spleeter repro test lint lock clean

help:
	@echo "make repro   set up, then run every stage whose inputs changed (dvc repro)"
	@echo "make test    set up, then run the tests (ARGS=--slow: the slow ones too)"
	@echo "make setup   the environment alone"
	@echo "make spleeter   the separate environment of the method spleeter (made on demand otherwise)"
	@echo "make lint    ruff"
	@echo "make lock    compile requirements.txt from pyproject.toml"
	@echo "make clean   remove the environment and all scratch (data and models stay)"

setup:
	@tools/bootstrap.sh

spleeter:
	@tools/spleeter.sh

repro: setup
	dvc repro $(ARGS)

test: setup
	python -m pytest $(ARGS)

lint: setup
	ruff check .

# The local part of torch's version (+cpu) names one index's build; the lock must install from any.
lock: setup
	python -m pip install --quiet pip-tools
	pip-compile --quiet --extra app --extra test --strip-extras --no-header --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --output-file requirements.tmp pyproject.toml
	sed 's/+cpu$$//' requirements.tmp > requirements.txt
	rm requirements.tmp

clean:
	rm -rf .venv .cache logs dvc_plots .svs-setup.lock
