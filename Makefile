# `make help` tells what there is. Nothing here needs root, Docker or Java.

SHELL := /bin/sh
PYTHON ?= python3
DEMO_SECONDS ?= 0
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# The environment is made anew when what it was made from has changed.
READY := $(VENV)/.ready

# Tests start hundreds of processes of Python; without bytecode each would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "PYTHON=python3.12 chooses the Python that .venv is made with (3.10 or newer)."

.PHONY: demo
demo: $(READY) ## Run it all on simulated traffic until Ctrl-C, or for DEMO_SECONDS=60
	@$(BIN)/delivery-status demo --seconds $(DEMO_SECONDS) $(ARGS)

# Files go to processes whole, in the order that tests/conftest.py gives them.
BY_FILE := --dist loadfile --no-loadscope-reorder

# The tests come last, so that what is read last is how they ended.
.PHONY: test
test: check ## Check everything and run all tests; ARGS='-k fold' runs some
	$(BIN)/python docs/generate.py --check
	@# Twice as many processes as two cores: tests with a broker wait for most of their time.
	$(BIN)/python -m pytest -n 4 $(BY_FILE) $(ARGS)

.PHONY: quick
quick: $(READY) ## Run the tests that need no broker and no browser, each property on a tenth of its examples
	PART_OF_EXAMPLES=0.1 $(BIN)/python -m pytest -n 2 $(BY_FILE) -m 'not kafka and not browser and not slow' $(ARGS)

# Each in an environment of its own, .venv-3.x; what pip once fetched comes from its cache.
.PHONY: pythons
pythons: ## Run quick under each other Python from 3.10 to 3.13 that this machine has; PYTHONS="python3.12 /opt/py/bin/python3"
	@for python in $${PYTHONS:-$$(sh ops/pythons.sh $(PYTHON))}; do \
	  name=.venv-$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])') && \
	  echo "with $$python, in $$name" && \
	  $(MAKE) --no-print-directory quick VENV=$$name PYTHON=$$python || exit 1; done

.PHONY: check
check: $(READY) ## Lint, formatting, types and import direction
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: chaos
chaos: $(READY) ## Kill, pause, starve and scale workers and broker for 15 minutes; CHAOS_SECONDS, CHAOS_SEED, CHAOS_STORE, CHAOS_PARTITIONS
	CHAOS_SECONDS=$${CHAOS_SECONDS:-900} CHAOS_SEED=$${CHAOS_SEED:-$$(date +%s)} $(BIN)/python -m pytest tests/chaos -s

.PHONY: trials
trials: $(READY) ## Kill, hang and cut off brokers of a cluster: what one transaction a worker rests on (ADR 0025); EOS_SEED, EOS_SECONDS
	$(BIN)/python -m pytest -m trial tests/engine/eos $(ARGS)

.PHONY: soak
soak: $(READY) ## Fold the same events for an hour: memory, files and tasks stay; SOAK_SECONDS, SOAK_RATE
	SOAK_SECONDS=$${SOAK_SECONDS:-3600} SOAK_RATE=$${SOAK_RATE:-10000} $(BIN)/python -m pytest tests/soak/test_soak.py -s -k nothing_grows

.PHONY: fuzz
fuzz: $(READY) ## Read a million records that nobody should send: no fault of ours, none slow, no growth; FUZZ_PAYLOADS, FUZZ_SEED
	FUZZ_PAYLOADS=$${FUZZ_PAYLOADS:-1000000} FUZZ_SEED=$${FUZZ_SEED:-$$(date +%s)} $(BIN)/python -m pytest tests/fuzz/test_long_run.py -s

.PHONY: docs
docs: $(READY) ## Renew the docs that follow from the code, and build the site of all of them: build/site/index.html
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-annotate \
  --no-emit-index-url --custom-compile-command 'make lock' --constraint constraints.txt

.PHONY: lock
lock: $(READY) ## Renew locks/: what constraints.txt names, with the hashes of its files
	$(LOCK) --output-file locks/image.txt --extra rocksdb pyproject.toml
	$(LOCK) --output-file locks/build.txt --group build
	$(LOCK) --output-file locks/development.txt --extra embedded --extra rocksdb --group dev pyproject.toml

# Of an environment that is made as the Dockerfile makes the image's, so that licences and dependencies are in it, too.
.PHONY: sbom
sbom: $(READY) ## Write dist/delivery-status.cdx.json: what the image holds of Python, as CycloneDX
	rm -rf build/image build/wheel && mkdir -p dist
	$(PYTHON) -m venv --without-pip build/image
	$(BIN)/pip --python build/image/bin/python install --quiet --require-hashes --only-binary :all: -r locks/image.txt
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel .
	$(BIN)/pip --python build/image/bin/python install --quiet --no-deps --no-index build/wheel/*.whl
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  --output-file dist/delivery-status.cdx.json build/image/bin/python

.PHONY: wheel
wheel: $(READY) ## Write the package into dist/: what `pip install` takes on other machines
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

.PHONY: pin-images
pin-images: $(READY) ## Write into Dockerfile and docker-compose.yml which image each tag is now; needs docker
	$(BIN)/python ops/pin_images.py

.PHONY: screenshots
screenshots: $(READY) ## Renew the docs' pictures of the page; needs chromium
	$(BIN)/python -m tests.browser.screenshots

.PHONY: benchmark
benchmark: $(READY) ## Measure events a second beside Kafka Streams, Quix, Bytewax and plain Faust, in one run
	$(BIN)/python benchmarks/run.py $(ARGS)

.PHONY: clean
clean: ## Remove the environment and all caches
	rm -rf $(VENV) .venv-3.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: environment
environment: $(READY)

$(READY): pyproject.toml locks/development.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "delivery-status needs Python 3.10 or newer, and '$(PYTHON)' is older or missing." >&2; \
	  echo "Name one that is there: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "making $(VENV) (a minute or two, first time only)"
	@$(PYTHON) -m venv --clear $(VENV)
	@# Whatever comes from outside is checked by its hash, pip and what builds the package included.
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement locks/development.txt
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
