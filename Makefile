# A fresh clone needs only git, Python 3.10 or newer with venv, and a C++ compiler. Every target sets up what it
# needs, once, in .venv.
#
#   make demo    compress a photograph and get it back
#   make test    run the tests, except for those that take long: some five minutes of processor time
#   make test-slow, make test-all    those that take long; all of them
#   make lint    ruff, codespell and mypy
#   make dist    build the source distribution and the wheel, check them and print their sizes
#   make wheel-test    the same, and run the quick tests on the wheel as it is installed
#   make docs    build the documentation site, in build/site
#   make bench   measure everything on the Kodak pictures, and put the figures into the pages; takes some hours
#   make clean   remove .venv and everything that was built
#
# Variables, on the command line or in the environment (`make clean` first, if an environment is there already):
#
#   PYTHON       the Python to make the environment from
#   VENV         where the environment is made
#   TORCH_SPEC   which PyTorch to install, as pip wants it
#   BENCH        options of `dcacodec bench`, as --data-dir or --jobs
#   TORCH_INDEX  the package index to take PyTorch from, where it should not be pip's usual one, which on Linux gives a
#                build for NVIDIA GPUs, several gigabytes large. PyTorch's "Get Started" page names an index for each
#                kind of build, with CPU only or for one CUDA version: it is what follows --index-url there.

PYTHON ?= python3
VENV ?= .venv
TORCH_SPEC ?= torch==2.13.0
TORCH_INDEX ?=
BENCH ?=

PLAIN := dcacodec-psnr,jpeg,jpeg-444,jpeg2000,webp,avif-psnr,jxl
REFINED := dcacodec-psnr:40,$(PLAIN)
OTHERS := avif,avif-psnr,jxl,webp,jpeg

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: setup demo test test-slow test-all lint dist wheel-test docs bench clean
.DELETE_ON_ERROR:

setup: $(VENV)/.coder

demo: setup
	$(BIN)/python scripts/demo.py

test: setup
	$(BIN)/python -m pytest -m 'not slow'

test-slow: setup
	$(BIN)/python -m pytest -m slow

test-all: setup
	$(BIN)/python -m pytest

lint: $(VENV)/.packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy

dist: $(VENV)/.packages
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	@wc -c dist/*

# In a separate environment, which finds all packages but dcacodec in the other one. The tests are those of the source
# distribution, without the package in it.
wheel-test: setup dist
	rm -rf build/wheel
	mkdir -p build/wheel
	$(BIN)/python -m venv build/wheel/venv
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > "$$(build/wheel/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/others.pth"
	build/wheel/venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps dist/*.whl
	tar -xzf dist/dcacodec-*.tar.gz -C build/wheel
	rm -r build/wheel/dcacodec-*/dcacodec
	cd build/wheel/dcacodec-*/ && env -u PYTHONPATH ../venv/bin/python -m pytest -p no:cacheprovider -m 'not slow'

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Resumes after an interruption: measurements are kept in build.
bench: setup $(VENV)/.bench
	$(BIN)/dcacodec bench --dataset kodak --out build/bench --codecs $(PLAIN) $(BENCH)
	mkdir -p build/bench-effort
	test -e build/bench-effort/journal.jsonl || cp build/bench/journal.jsonl build/bench-effort/
	$(BIN)/dcacodec bench --dataset kodak --out build/bench-effort --codecs $(REFINED) $(BENCH) > build/bench-effort.txt
	for tune in visual psnr; do mkdir -p build/bench-$$tune; \
	  test -e build/bench-$$tune/journal.jsonl || cp build/bench/journal.jsonl build/bench-$$tune/; \
	  $(BIN)/dcacodec bench --dataset kodak --out build/bench-$$tune --codecs dcacodec-$$tune,$(OTHERS) $(BENCH) || exit 1; \
	done
	$(BIN)/python scripts/bench_figures.py build/bench build/bench-effort build/bench-visual build/bench-psnr

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or newer is needed: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "Python's venv is needed (Debian, Ubuntu: the package python3-venv), or: make PYTHON=..." >&2; exit 1; }
	@touch $@

# PyTorch is installed first and separately, so that no other requirement decides which build is installed.
$(VENV)/.torch: $(VENV)/.created
	@echo "Installing $(TORCH_SPEC) ..."
	@$(PIP) install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) '$(TORCH_SPEC)'
	@touch $@

$(VENV)/.packages: $(VENV)/.torch setup.cfg setup.py
	@echo "Installing dcacodec and what it needs ..."
	@$(PIP) install --editable '.[dev]'
	@touch $@

$(VENV)/.bench: $(VENV)/.packages
	@echo "Installing what benchmarks need ..."
	@$(PIP) install --editable '.[bench-more]'
	@touch $@

$(VENV)/.docs: $(VENV)/.packages
	@echo "Installing what the documentation needs ..."
	@$(PIP) install --editable '.[docs]'
	@touch $@

# The compiled entropy coder is built at its first use; that is here, so that nobody waits for it later.
$(VENV)/.coder: $(VENV)/.packages
	@echo "Compiling the entropy coder ..."
	@$(BIN)/python -c 'from dcacodec.coding import best_coder; best_coder()'
	@touch $@
