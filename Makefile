# Two commands do everything on a fresh machine: `make demo` and `make test`. Both make .venv and need only Python.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --no-compile -c constraints.txt
# What is imported is compiled then, and kept; pip would compile all that it installs, which takes longer than all else.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help demo test thorough check recipes fuzz guard docs dist clean

help:
	@echo "make demo   install, train a language model on the text inside Python, let it write (5 minutes)"
	@echo "make test   install what tests need; lint, types, import rules, tests"
	@echo "make thorough  the same with every combination of cells, targets and forms, of which make test tries some (half an hour)"
	@echo "make recipes  run the layers in Lightning, Hugging Face's Trainer, skorch, DDP, FSDP2 and the like (3 minutes)"
	@echo "make fuzz   compare random cells, compiled and interpreted, for an hour"
	@echo "make guard  run every cell with its memory between pages that nobody may touch"
	@echo "make docs   build the pages and the API reference into build/site"
	@echo "make dist   build a wheel and an sdist into build/dist, and try each in a fresh environment"
	@echo "make clean  remove what these made, but no run"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) "pip>=25.1"

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	@touch $@

$(VENV)/.tested: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[demo,video,vision,export,convert]' --group test
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed
	$(BIN)/selfloop train lm --minutes 2

test: $(VENV)/.tested check
	$(BIN)/pytest -n auto --dist worksteal

thorough: export SELFLOOP_TESTS = all
thorough: test

check: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --project tests/user --pythonpath $(BIN)/python
	$(BIN)/lint-imports

recipes: $(VENV)/.tested
	$(INSTALL) --group recipes
	$(BIN)/pytest -n auto examples/recipes

guard: $(VENV)/.tested
	$(BIN)/python tests/guarded.py end
	$(BIN)/python tests/guarded.py start

fuzz: $(VENV)/.tested
	$(BIN)/python tests/random_cells.py --minutes 60

docs: $(VENV)/.tested
	$(INSTALL) --group docs
	$(BIN)/python docs/write_fields.py
	$(BIN)/python docs/write_cells.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "build/site/index.html"

dist: $(BIN)/python
	$(INSTALL) build
	rm -rf build/dist
	$(BIN)/python -m build --outdir build/dist
	for file in build/dist/*.whl build/dist/*.tar.gz; do ./tests/smoke.sh $(PYTHON) $$file || exit 1; done

clean:
	rm -rf build $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
