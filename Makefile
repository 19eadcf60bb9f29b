# make demo    a dataset from a loopback server, in demo_output/
# make test    every test
# make test-kill    kills 150 runs at random moments, where `make test` kills 25
# make fuzz    mutated answers, images, lists, folders with new seeds, for ten minutes; `make fuzz SEED=7 SECONDS=60`
# make lint    ruff and mypy
# make bench   img2dataset beside its peer, with a verdict for every target: about 40 minutes on 2 cores
# make bench-quick    the same, cut down to what shows gross regressions in three minutes
# make clean   removes what the above have made
#
# All it takes is Python 3.10 or later; `make PYTHON=python3.12 test` chooses one.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TEST_INSTALLED := $(VENV)/.test-installed

.DELETE_ON_ERROR:
.PHONY: demo test test-kill fuzz lint bench bench-quick clean

demo: $(INSTALLED)
	$(BIN)/python examples/demo.py

test: $(TEST_INSTALLED)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-kill: $(TEST_INSTALLED)
	IMG2DATASET_TEST_KILLS=150 $(BIN)/python -m pytest tests/test_kills.py

SECONDS := 600

fuzz: $(TEST_INSTALLED)
	$(BIN)/python tests/fuzz.py --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

lint: $(TEST_INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict

bench: $(TEST_INSTALLED)
	$(BIN)/python benchmarks/compare.py $(BENCH_ARGS)

bench-quick: $(TEST_INSTALLED)
	$(BIN)/python benchmarks/compare.py --quick

clean:
	rm -rf $(VENV) benchmarks/.cache demo_output build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find img2dataset tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: a virtual environment is filled again only when what it is filled with has changed.

$(INSTALLED): setup.py pyproject.toml requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(TEST_INSTALLED): $(INSTALLED) requirements-test.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-test.txt
	touch $@
