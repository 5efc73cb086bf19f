# Everything runs in .venv, which these targets create and install into by themselves.
PYTHON ?= python3.11
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check install -q -c constraints.txt

.PHONY: demo test lint proto format clean

## Speak a bundled text through the whole stack; WAV files land in out/demo.
demo: .venv/installed-local
	$(BIN)/kernelport demo --out out/demo

## The whole test suite.
test: .venv/installed-test
	$(BIN)/python -m pytest

## Style, types, and whether the generated code is current.
lint: .venv/installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd proto && ../$(BIN)/buf lint
	$(BIN)/python proto/generate.py --check

## Regenerate the Python code of the .proto files.
proto: .venv/installed-lint
	$(BIN)/python proto/generate.py

format: .venv/installed-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv out

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed-%: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[$*]'
	@touch $@
