# make demo   install what the main job needs, and run it
# make check  install what the tests need, and run lint, types and each rule once (under a minute)
# make test   the same, with every test
# make test-every  the same, and all of those checks that take turns there (40 min)
# make test-browser  build the documentation, and try it and the page of `explain` in Chromium (6 min)
# make test-torch  install PyTorch as well (gigabytes), and run the comparisons with it
# make docs   install Sphinx, build the documentation in docs/_build/html, and check its links (5 min)
# make fuzz   make 27,000 random calls, valid and not, and count how they are answered (20 min)
# make kills  kill training processes 50 times, alone and in pairs, and compare the results (20 min)
# make soak   train for an hour, and watch memory, compilations, files and threads
# make mutate  plant faults in the package, one at a time, and count those that tests catch (20 min)
# make bench  train beside the peers, and write benchmarks/README.md (50 min on an idle machine)
# make bench-check  fail if a small case is slower or larger than benchmarks/results has it (3 min)
# make bench-tpu-compile  compile the steps for a TPU that need not be there, and count bytes (2 min)
# make scale-plan  compile a step of 1, 10 and 100 billion parameters for 16 to 256 TPU chips (30 min)
# make bench-tables  train on real tables beside the authors' code and scikit-learn (hours; goes on)
# make bench-power  count what the checker catches, and its false alarms, over 20 random points (20 min)
# make wild  check the hand-written rules of other packages, and audit their tests (hours)
# make clean  remove the environments and everything that was made
# make help   show this
#
# Another interpreter: make test PYTHON=python3.13

PYTHON ?= python3

# The default interpreter has .venv; any other one has an environment of its own beside it.
ifeq ($(origin PYTHON),file)
VENV := .venv
else
VENV := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif
BIN := $(VENV)/bin
BENCH := $(VENV)-bench
DOCS := $(VENV)-docs
TPU := $(VENV)-tpu
POWER := $(VENV)-power
TABLES := $(VENV)-tables
WILD := $(VENV)-wild

.PHONY: demo check test test-every test-browser test-torch docs fuzz kills soak mutate bench bench-check bench-tpu-compile scale-plan bench-tables bench-power wild clean help

demo: $(VENV)/demo.stamp
	$(BIN)/fcjax train

check: $(VENV)/test.stamp
	$(BIN)/ruff format --check --diff .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -n 2 tests/test_core.py tests/test_architecture.py

test: $(VENV)/test.stamp
	$(BIN)/ruff format --check --diff .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -n auto --dist worksteal

test-every: export FCJAX_EVERY_CHECK = 1
test-every: test

test-browser: $(VENV)/browser.stamp docs
	$(BIN)/python -m pytest tests/browser

test-torch: $(VENV)/torch.stamp
	$(BIN)/python -m pytest tests/test_losses.py tests/test_export.py tests/examples/test_curve_fit.py -k torch

docs: $(DOCS)/docs.stamp
	$(DOCS)/bin/python -m sphinx --quiet --fail-on-warning --keep-going --jobs 2 docs docs/_build/html
	$(DOCS)/bin/python docs/_extensions/links.py docs/_build/html

fuzz: $(VENV)/test.stamp
	PYTHONPATH=tests $(BIN)/python -m fuzz $(FUZZ)

kills: $(VENV)/test.stamp
	$(BIN)/python tests/kills.py 50
	$(BIN)/python tests/kills.py 50 --processes 2

soak: $(VENV)/test.stamp
	MALLOC_ARENA_MAX=1 $(BIN)/python tests/soak.py 3600

mutate: $(VENV)/test.stamp
	$(BIN)/python tests/mutate.py

bench: $(BENCH)/bench.stamp
	$(BENCH)/bin/python -m benchmarks run

bench-check: $(BENCH)/bench.stamp
	$(BENCH)/bin/python -m benchmarks check

bench-tpu-compile: $(TPU)/tpu.stamp
	$(TPU)/bin/python -m benchmarks tpu

scale-plan: $(TPU)/tpu.stamp
	$(TPU)/bin/python -m benchmarks scale

bench-tables: $(TABLES)/tables.stamp
	$(TABLES)/bin/python -m benchmarks.tabular run

bench-power: $(POWER)/power.stamp
	$(POWER)/bin/python benchmarks/power.py

wild: $(WILD)/wild.stamp
	$(WILD)/bin/python -m benchmarks.wild rules
	$(WILD)/bin/python -m benchmarks.wild measure
	$(WILD)/bin/python -m benchmarks.wild audit
	$(WILD)/bin/python -m benchmarks.wild overhead
	$(WILD)/bin/python -m benchmarks.wild report

$(VENV)/demo.stamp: $(VENV)/pip.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[app]'
	touch $@

$(VENV)/test.stamp: $(VENV)/pip.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@ $(VENV)/demo.stamp

# PyTorch in the version of the benchmarks; from now on `make test` compares with it too.
$(VENV)/browser.stamp: $(VENV)/test.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[browser]'
	touch $@

$(VENV)/torch.stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet "$$(sed -n 's/.*"\(torch==[^"]*\)".*/\1/p' pyproject.toml)"
	touch $@

$(DOCS)/docs.stamp: $(DOCS)/pip.stamp pyproject.toml
	$(DOCS)/bin/python -m pip install --quiet --editable '.[docs]'
	touch $@

$(BENCH)/bench.stamp: $(BENCH)/pip.stamp pyproject.toml
	$(BENCH)/bin/python -m pip install --quiet --editable '.[bench]'
	touch $@

$(TPU)/tpu.stamp: $(TPU)/pip.stamp pyproject.toml
	$(TPU)/bin/python -m pip install --quiet --editable '.[bench-tpu]'
	touch $@

$(TABLES)/tables.stamp: $(TABLES)/pip.stamp pyproject.toml
	$(TABLES)/bin/python -m pip install --quiet --editable '.[bench-tables]'
	touch $@

# The packages whose rules are counted. tokamax pins a typeguard with which the command cannot run,
# so they have an environment of their own and are installed after it.
$(POWER)/power.stamp: $(POWER)/pip.stamp pyproject.toml
	$(POWER)/bin/python -m pip install --quiet --editable '.[test]'
	$(POWER)/bin/python -m pip install --quiet jaxopt optimistix ott-jax
	$(POWER)/bin/python -m pip install --quiet tokamax
	touch $@

# The packages whose functions and test suites are checked, and what their tests import.
$(WILD)/wild.stamp: $(WILD)/pip.stamp benchmarks/wild/requirements.txt
	$(WILD)/bin/python -m pip install --quiet --no-deps --requirement benchmarks/wild/requirements.txt
	$(WILD)/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

%/pip.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "fcjax needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	       "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $*
	touch $@

help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p' Makefile

clean:
	rm -rf .venv .venv-* .hypothesis .pytest_cache .ruff_cache out dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
