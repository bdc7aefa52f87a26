# `make demo` and `make test` set up everything they need in .venv and re-use it afterwards.
PYTHON ?= python3
OUT ?= demo-output
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-fast lint install clean

install: $(VENV)/.installed

$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed, found " + sys.version) if sys.version_info < (3, 10) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[test]'
	touch $@

demo: install
	$(BIN)/chordoma-demo --out $(OUT)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build
	$(BIN)/python -m pip install --quiet --no-deps --target build/mypy .
	MYPYPATH=build/mypy $(BIN)/mypy -p nnunet_chordoma
	@# What a build leaves behind would go into the next wheel, deleted modules included.
	rm -rf build

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-fast: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow"

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
