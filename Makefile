# `make demo` and `make test` are the only set-up there is; each installs into .venv first when needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= demo

.PHONY: install demo test lint clean

install: $(VENV)/.installed

# torch is named first and exactly: an open range would pull the newest CUDA build.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0 -e '.[dev]'
	touch $@

demo: install
	PATH="$(CURDIR)/$(BIN):$$PATH" bash pipelines/quickstart.sh $(DEMO)

test: install
	$(BIN)/python -m pytest -n 2 -m "not slow" tests

lint: install
	$(BIN)/ruff check imer tests benchmarks pipelines && $(BIN)/mypy && $(BIN)/lint-imports

clean:
	rm -rf $(DEMO) build dist *.egg-info
