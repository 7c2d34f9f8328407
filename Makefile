# A fresh machine needs Python 3.11 or newer, make and a package index; `make train` and `make test` install the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SERVING_VENV := .venv-serving
PEERS_VENV := .venv-peers
# An idle process takes over tests of the other one, so that both end at about the same time.
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: train test test-all check lint format docs quality peers tensorboard verify-serving clean

# The constraints are the versions that were tested together; setup.cfg holds the ranges they come from.
$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

# Tests and lint need more than training does.
$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

train: $(VENV)/installed
	$(BIN)/python tools/train.py

test: $(VENV)/installed-dev
	$(PYTEST) -m 'not slow'

# The slow tests, after all others.
test-all: test
	$(PYTEST) -m slow

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check: lint test

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The tables of outputs, metrics and options in docs/, from the declarations in the code.
docs: $(VENV)/installed
	$(BIN)/python docs/tables.py

# DATA is a directory with one folder per public data set; see docs/results.md.
quality: $(VENV)/installed
	$(BIN)/python -m benchmarks quality --data $(DATA)

# The libraries that benchmarks compare with, in an environment of their own; see docs/results.md.
# The tested versions are in this file, so that a change installs the environment again.
$(PEERS_VENV)/installed: Makefile
	$(PYTHON) -m venv $(PEERS_VENV)
	$(PEERS_VENV)/bin/python -m pip install --quiet torch==2.13.0
	$(PEERS_VENV)/bin/python -m pip install --quiet transformers==5.23.0 accelerate==1.15.0 \
		onnxruntime==1.32.0 onnx==1.23.2 onnxscript==0.7.2 fastapi==0.165.0 uvicorn==0.54.0 litserve==0.2.19 \
		sentence-transformers==6.2.0 cleanlab==2.9.0
	touch $@

peers: $(PEERS_VENV)/installed

tensorboard: $(VENV)/installed
	$(BIN)/tensorboard --logdir runs

# The libraries that stock TensorFlow Serving 2.20.0 is built from; every kind of export is loaded with them.
$(SERVING_VENV)/installed:
	$(PYTHON) -m venv $(SERVING_VENV)
	$(SERVING_VENV)/bin/python -m pip install --quiet tensorflow-cpu==2.20.0
	$(SERVING_VENV)/bin/python -m pip install --quiet --no-deps tensorflow-text==2.20.0
	touch $@

verify-serving: $(VENV)/installed-dev $(SERVING_VENV)/installed
	TFBERT_SERVING_PYTHON=$(CURDIR)/$(SERVING_VENV)/bin/python $(BIN)/python -m pytest tests/test_contract.py -k stock_servers

clean:
	rm -rf $(VENV) $(SERVING_VENV) $(PEERS_VENV)
