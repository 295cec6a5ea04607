# Two commands: `make demo` and `make test`. Each installs what it needs into .venv (pinned in constraints.txt) first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint install clean

demo: install
	$(BIN)/hlbench demo

test: install lint
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

lint: install
	$(BIN)/ruff check harness tests benchmarks .github/scripts
	$(BIN)/ruff format --check harness tests benchmarks .github/scripts

install: .venv/installed

# A change of the pins or of the package's metadata reinstalls; otherwise this costs nothing.
.venv/installed: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"hlbench needs Python 3.11 or newer; this is {v.major}.{v.minor}. Set PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv runs build *.egg-info
