# Two commands do everything: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: env demo test lint audit soak lock clean

env: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "requirements.lock is for Python 3.11; name it with: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: env
	$(BIN)/echocycle demo

test: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -rs --durations=10 -n auto --dist loadfile

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy echocycle
	$(BIN)/lint-imports

# Needs the network: asks PyPI about known faults of every locked package, and fails where it cannot ask.
audit: env
	$(BIN)/pip-audit --disable-pip --require-hashes --strict -r requirements.lock

# Hours: breaks every stage 60 times in each of 13 ways (as root, for a full disk), spoils files for every parser, and
# predicts 5,000 clips. docs/reliability.md has the numbers.
soak: env
	$(BIN)/python scripts/faults.py --rounds 60
	$(BIN)/python scripts/fuzz.py --inputs 2000
	$(BIN)/python scripts/soak.py --clips 5000

# Needs uv (https://docs.astral.sh/uv) on the PATH; resolves from package metadata alone.
lock:
	uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra dev \
		pyproject.toml requirements.in -o requirements.lock

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache
