PYTHON ?= python3
BIN := .venv/bin
# Two processes; a file stays in one, because its tests share what is slow to make.
PYTEST := bin/python -m pytest -n 2 --dist loadfile
# Modules are compiled once, not by each of the many processes, also where the environment says otherwise.
export PYTHONDONTWRITEBYTECODE :=
# The longest files first, those of training, so that the two processes end together.
COMPILED = --no-loadscope-reorder $(shell grep -rl --include=*.py mark.default_compiler tests | sort -r)

.PHONY: demo experiment enhance tracks test test-all test-slow test-core benchmark docs lint format venv venv-core clean

demo: .venv/installed ## pretrain a small model on a simulated map, minutes on two CPU cores
	$(BIN)/python scripts/train.py --config=configs/pretrain_arabidopsis.py:demo --workdir=runs/demo

experiment: .venv/installed ## pretrain, fine-tune, enhance, compare: MAP=leaf.mcool [RESOLUTION=30000 WEIGHTS=FILE OUT=DIR FLAGS=--seeds=3]
	$(BIN)/python scripts/experiment.py --workdir=$(or $(OUT),runs/experiment) $(if $(MAP),--map=$(MAP)) \
	    $(if $(RESOLUTION),--resolution=$(RESOLUTION)) $(if $(WEIGHTS),--weights=$(WEIGHTS)) $(FLAGS)

enhance: .venv/installed ## enhance a map and judge it by reads set aside: MAP=root.mcool [RESOLUTION= TUNE=1|scratch TARGET=contacts OUT=DIR FLAGS=]
	@test -n "$(MAP)" || { echo "error: make enhance needs MAP=FILE."; exit 2; }
	$(BIN)/python scripts/experiment.py --own_reads --workdir=$(or $(OUT),runs/enhance) --map=$(MAP) --tune=$(TUNE) \
	    $(if $(RESOLUTION),--resolution=$(RESOLUTION)) $(if $(TARGET),--target_contacts=$(TARGET)) $(FLAGS)

tracks: .venv/installed ## train on tracks, predict, compare: MAP=leaf.mcool TRACKS=table.tsv[:COLUMN,...] [RESOLUTION= OUT= FLAGS=--seeds=3]
	@test -n "$(MAP)" && test -n "$(TRACKS)" || { echo "error: make tracks needs MAP=FILE and TRACKS=TABLE.tsv."; exit 2; }
	$(BIN)/python scripts/experiment.py --workdir=$(or $(OUT),runs/tracks) --map=$(MAP) --tracks=$(TRACKS) \
	    $(if $(RESOLUTION),--resolution=$(RESOLUTION)) $(FLAGS)

test: lint ## what a contributor needs to trust a change, minutes on two cores
	.venv/$(PYTEST) -m "not slow and not default_compiler"
	HICFM_DEFAULT_COMPILER=1 .venv/$(PYTEST) -m "default_compiler and not slow" $(COMPILED)

test-all: test test-slow ## everything

test-slow: .venv/installed
	.venv/$(PYTEST) -m slow

test-core: .venv-core/installed ## files, tiles, maps and configs without hic-straw, hictk, PyTorch and Beam
	.venv-core/$(PYTEST) -m "not slow" tests/contacts tests/tiles tests/infer tests/test_config.py

benchmark: .venv/installed ## measure this machine: the tables of docs/reference/performance.md, ten minutes on two cores
	$(BIN)/python scripts/benchmark_page.py $(FLAGS)

docs: .venv/installed ## the pages as a website in site/, built without internet; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: .venv/installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: .venv/installed
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

venv: .venv/installed

# Without the stamp an install was cut short or never begun: start from an empty folder. With an old one
# (setup.py is newer) install on top, which keeps what you added yourself, a CUDA build of JAX for one.
.venv/installed: setup.py
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "error: $(PYTHON) is Python %d.%d, 3.11 or newer is needed: make PYTHON=/path/to/python3.11" % v[:2])'
	@echo "Installing into .venv: about 4 GB, a few minutes."
	$(PYTHON) -m venv $(if $(wildcard $@),,--clear) .venv
	$(BIN)/python -m pip install --quiet -e '.[all]'
	@{ $(CXX) -fsyntax-only -x c++ -include curl/curl.h /dev/null 2>/dev/null && $(BIN)/python -m pip install --quiet -e '.[straw]'; } \
	|| echo "hic-straw is left out: it needs a C++ compiler and libcurl's headers (see BUILD.md)."
	@touch $@

venv-core: .venv-core/installed

.venv-core/installed: setup.py
	$(PYTHON) -m venv $(if $(wildcard $@),,--clear) .venv-core
	.venv-core/bin/python -m pip install --quiet -e '.[data,evaluate,dev]'
	@touch $@

clean: ## back to a fresh clone, but for runs/
	rm -rf .venv .venv-core site build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .jax_cache
