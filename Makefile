# Everything a developer or CI does, by name. `make setup` needs Python 3.11 or newer, make and git; nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
MOTO   := .venv-moto
BENCH  := .venv-bench
# The interpreter of the GPU checks: a machine with GPUs may bring a torch of its own.
GPU_PYTHON ?= $(BIN)/python
GPU_OUT ?= benchmarks/results
# Alone, since others import what such a machine may lack.
GPU_TESTS = $(shell grep -rl 'mark\.gpu' tests --include='test_*.py')
PYTEST_ARGS ?=
COV ?=
DEMO = digits-demo-$(shell date +%Y%m%d-%H%M%S)

# One thread per process, or tests and trials fight for the cores; Ray sends no usage statistics.
export OMP_NUM_THREADS = 1
export RAY_USAGE_STATS_ENABLED = 0

.DEFAULT_GOAL := help
.PHONY: help setup demo test fast moto faults cluster-setup cluster-test lint format-check types check format gpu-check \
  bench bench-full bench-micro bench-setup clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(STAMP) ## make .venv with the exact versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: $(PYTHON) is $$($(PYTHON) --version 2>&1); skorch-sweeps needs Python 3.11 or newer." >&2; \
	  echo "make: name another one, for example: make setup PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup ## run the digits sweep; results go to results/
	@name=$(DEMO) && $(BIN)/sweeps run examples/digits/sweep.yaml --storage results --name $$name && \
	  echo "results: results/$$name   (show them: $(BIN)/sweeps show results/$$name)"

# Drivers that are killed are forked from the process of the tests, which must not have the threads of others.
test: fast ## run the tests, at last those that start Ray; PYTEST_ARGS='-k resume' chooses
	$(BIN)/python -m pytest -m "faults and not ray and not cluster" $(COV) $(PYTEST_ARGS) || [ $$? -eq 5 ]
	$(BIN)/python -m pytest -m "ray and faults and not cluster" $(COV) $(PYTEST_ARGS) || [ $$? -eq 5 ]
	$(BIN)/python -m pytest -m "ray and not faults and not cluster" -n 2 --dist loadfile $(COV) $(PYTEST_ARGS) || [ $$? -eq 5 ]
	-@$(MAKE) -s cluster-setup # without it those tests are skipped, and say so
	$(BIN)/python -m pytest -m cluster tests/cluster $(COV) $(PYTEST_ARGS) || [ $$? -eq 5 ]

fast: setup ## the tests that neither start Ray nor break anything, in two processes
	$(BIN)/python -m pytest -m "not ray and not faults and not cluster" -n 2 --dist loadfile $(COV) $(PYTEST_ARGS) || [ $$? -eq 5 ]

moto: $(MOTO)/.installed ## make .venv-moto, the S3 server of the tests; they do it themselves where it is missing

$(MOTO)/.installed: tests/faults/moto-requirements.txt | setup
	$(BIN)/python -c 'import sys; sys.path.insert(0, "tests"); import object_store; object_store.install()'

faults: setup ## the whole fault injection: kills, damages, full disks and stores; prints its figures
	SWEEPS_FAULTS=full $(BIN)/python -m pytest -m faults tests/faults -s $(PYTEST_ARGS)

cluster-setup: ## install what several hosts on this machine need, where it is missing; root on Debian
	@export PATH="$$PATH:/usr/sbin:/sbin"; missing=; \
	for pair in ip:iproute2 unshare:util-linux sshd:openssh-server ssh-keygen:openssh-client rsync:rsync; do \
	  command -v "$${pair%%:*}" >/dev/null || missing="$$missing $${pair#*:}"; done; \
	if [ -z "$$missing" ]; then echo "nothing is missing"; \
	elif [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	  echo "make: install$$missing; this target can only as root on Debian" >&2; exit 1; \
	else apt-get update && apt-get install -y --no-install-recommends $$missing; fi

cluster-test: setup ## every test on several nodes, ten of each fault; needs root; prints its figures
	SWEEPS_CLUSTER=full $(BIN)/python -m pytest -m cluster tests/cluster -s $(PYTEST_ARGS)

lint: setup ## ruff check
	$(BIN)/ruff check .

format-check: setup ## ruff format --check
	$(BIN)/ruff format --check .

types: setup ## mypy --strict
	$(BIN)/mypy

check: lint format-check types ## everything that CI runs; the tests with branch coverage of at least 90 %
	$(BIN)/coverage erase
	$(MAKE) test COV='--cov --cov-append --cov-report='
	$(BIN)/coverage report --fail-under=90

format: setup ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

gpu-check: ## what needs a GPU: tests, then throughput; GPU_PYTHON=python3 takes the machine's own torch
	@if $(GPU_PYTHON) -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then \
	  $(GPU_PYTHON) -m pytest -p no:cacheprovider -m gpu $(GPU_TESTS) $(PYTEST_ARGS) && \
	  $(GPU_PYTHON) -m benchmarks.gpu --out $(GPU_OUT); \
	else \
	  echo "make: no CUDA device for $(GPU_PYTHON): the same checks on a fake one, and no figures" >&2; \
	  $(GPU_PYTHON) -m pytest -p no:cacheprovider -m "ray and not gpu" tests/gpu $(PYTEST_ARGS); \
	fi

bench: bench-setup ## compare with other tools on one small job; less than 10 minutes on two idle cores
	$(BENCH)/bin/python -m benchmarks.run

bench-full: bench-setup ## the same with all of them, 24 and 256 configs, several rounds: hours
	$(BENCH)/bin/python -m benchmarks.run --full

bench-micro: bench-setup ## what our parts cost, each beside its floor, and a simulation of 1000 workers
	$(BENCH)/bin/python -m benchmarks.micro
	$(BENCH)/bin/python -m benchmarks.simulate

bench-setup: $(BENCH)/.installed ## make .venv-bench: this project beside those that it is compared with

$(BENCH)/.installed: pyproject.toml constraints.txt benchmarks/requirements.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --disable-pip-version-check -c constraints.txt -r benchmarks/requirements.txt -e .
	@touch $@

clean: ## remove .venv and its like, caches and build products; results/ stays
	rm -rf $(VENV) $(MOTO) $(BENCH) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage htmlcov build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
