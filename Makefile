# Two commands do everything: `make demo` and `make test`. Nothing is installed twice: the stamps below remember.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test bench lint format clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	$(BIN)/text2digit sample --model unet-mnist --digits 0-9 --num 10 -o digits.png

test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

bench: $(VENV)/.installed
	$(BIN)/python -m text2digit.benchmarks.speed --readme benchmarks/README.md

# A link named like the package, so that mypy finds the checkout under the name that it is imported by.
lint: $(VENV)/.installed-lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	mkdir -p .typing && ln -sfn .. .typing/text2digit
	MYPYPATH=.typing $(BIN)/mypy -p text2digit

format: $(VENV)/.installed-lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "error: $(PYTHON) is older than Python 3.10; run: make PYTHON=python3.12 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.py | $(BIN)/python
	$(BIN)/python -m pip install -e .
	touch $@

$(VENV)/.installed-test: setup.py | $(BIN)/python
	$(BIN)/python -m pip install -e '.[test]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-lint: setup.py | $(BIN)/python
	$(BIN)/python -m pip install -e '.[lint]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist *.egg-info
