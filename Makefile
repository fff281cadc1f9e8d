# make lab: open the course. make check: daily work. make test: every check. The rest: make help.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
PIP_ARGS ?=
# `make check` tests what changed since the common ancestor with this commit.
SINCE ?= main
BIN := $(VENV)/bin
COURSE := $(wildcard course/[0-9][0-9]_*.md)
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
# JupyterLab refuses to run as root without being told; containers are root.
ROOT_FLAG := $(shell [ "$$(id -u)" = 0 ] && echo --allow-root)
# Lessons are executed as they were built, so that their outputs can be compared.
NBVAL_ENV := GENTOOLKIT_OUTPUT=poster GENTOOLKIT_PROFILE=cpu GENTOOLKIT_SOLUTIONS=0 \
	OMP_NUM_THREADS=1 PYTHONHASHSEED=0 TQDM_DISABLE=1

# rfc3987-syntax is an optional part of jsonschema; nothing here needs it, and it costs three
# seconds of CPU at each start of a Jupyter process.
define install
	$(BIN)/python -m pip install --disable-pip-version-check $(PIP_ARGS) \
		-c constraints.txt -e ".[$(1)]"
	$(BIN)/python -m pip uninstall --quiet --yes rfc3987-syntax
	touch $@
endef

.PHONY: help lab check types quick test js notebooks claims bench weights format constraints clean

help:
	@echo "make lab          install what the lessons need and open the first one in JupyterLab"
	@echo '                  (make lab ARGS="--no-browser --port 8899" passes arguments on)'
	@echo "make check        lint, types, laws, examples, and the tests of what changed: three minutes"
	@echo "                  (make types, make quick: its two halves; SINCE=COMMIT: changed since)"
	@echo "make test         install what the checks need and run them all"
	@echo "make js           bundle the widgets' JavaScript after a change of gentoolkit/widgets/js"
	@echo "make notebooks    build notebooks/ from course/ (ARGS='--only 01' for one lesson)"
	@echo "make claims       repeat the experiments behind the papers' claims, as a table"
	@echo "make bench        measure against other libraries"
	@echo "make weights      train the models that lessons load (about half an hour)"
	@echo "make format       format code and lessons"
	@echo "make constraints  pin what is not pinned yet (ARGS=--upgrade: all but torch anew)"
	@echo "make clean        remove the environment and the caches"
	@echo "Variables: PYTHON (3.11 or newer), VENV, PIP_ARGS (more options for pip), ARGS"

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "The course needs Python 3.11 or newer; $(PYTHON) is" \
			"$$($(PYTHON) --version 2>&1). Run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.lab: $(VENV)/.made pyproject.toml constraints.txt
	$(call install,lab)

$(VENV)/.test: $(VENV)/.made pyproject.toml constraints.txt
	$(call install,test)

$(VENV)/.bench: $(VENV)/.made pyproject.toml constraints.txt
	$(call install,test$(comma)bench)

comma := ,

# The type checker and the bundler of the widgets' JavaScript, for those who develop it.
$(VENV)/.js: package-lock.json $(VENV)/.test
	$(BIN)/python -m tools.javascript install
	touch $@

# Text lessons open as notebooks, for this environment only.
$(VENV)/.settings: binder/overrides.json $(VENV)/.lab
	mkdir -p $(VENV)/share/jupyter/lab/settings
	cp binder/overrides.json $(VENV)/share/jupyter/lab/settings/overrides.json
	touch $@

# Without trust JupyterLab hides what the stored notebooks show.
$(VENV)/.trusted: $(NOTEBOOKS) $(VENV)/.lab
	$(BIN)/jupyter trust $(NOTEBOOKS)
	touch $@

lab: $(VENV)/.lab $(VENV)/.settings $(VENV)/.trusted
	$(BIN)/jupyter lab $(ROOT_FLAG) --ServerApp.root_dir="$(CURDIR)" \
		--LabApp.default_url=/lab/tree/notebooks/00_start.ipynb $(ARGS)

# Types take one core for most of a minute; the tests start meanwhile.
check: $(VENV)/.test
	$(BIN)/ruff check .
	+$(MAKE) --no-print-directory -j 2 types quick

types: $(VENV)/.js
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/python -m tools.javascript check

quick: $(VENV)/.test
	chosen="$$($(BIN)/python -m tools.changed $(SINCE))" && \
		$(BIN)/python -m pytest -n 2 -m "not browser and not slow" $$chosen $(ARGS)

# The browser comes last: without one, the last line says what was left out.
test: $(VENV)/.js
	$(BIN)/ruff check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not browser" $(ARGS)
	$(NBVAL_ENV) $(BIN)/python -m pytest -n 2 --dist loadfile -p tests.nbval_budget \
		--nbval-lax --nbval-current-env --nbval-cell-timeout=900 \
		--nbval-sanitize-with=tests/nbval_sanitize.cfg notebooks $(ARGS)
	$(BIN)/python -m pytest -n 2 -m browser $(ARGS)

js: $(VENV)/.js
	$(BIN)/python -m tools.javascript build

notebooks: $(VENV)/.test
	$(BIN)/python -m tools.build_notebooks $(ARGS)

claims: $(VENV)/.test
	$(BIN)/python -m tests.claims $(ARGS)

bench: $(VENV)/.bench
	$(BIN)/python -m tests.benchmarks $(ARGS)

weights: $(VENV)/.test
	$(BIN)/python -m tools.train_digits $(ARGS)
	$(BIN)/python -m tools.train_mnist $(ARGS)
	$(BIN)/python -m tools.train_bumps $(ARGS)
	$(BIN)/python -m tools.train_tokens $(ARGS)
	$(BIN)/python -m tools.train_moons $(ARGS)
	$(BIN)/python -m tools.train_filling $(ARGS)
	$(BIN)/python -m tools.train_flows $(ARGS)
	$(BIN)/python -m tools.train_domains $(ARGS)
	$(BIN)/python -m tools.train_stochastic $(ARGS)
	$(BIN)/python -m tools.train_vae $(ARGS)
	$(BIN)/python -m tools.train_tree $(ARGS)
	$(BIN)/python -m tools.train_chains $(ARGS)
	$(BIN)/python -m tools.train_particles

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format gentoolkit tests tools
	$(BIN)/python -m tools.sources

constraints: $(VENV)/.made
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt uv
	$(BIN)/uv pip compile pyproject.toml --universal --all-extras --fork-strategy fewest \
		--no-annotate --custom-compile-command "make constraints" --quiet \
		--output-file constraints.txt $(ARGS)

clean:
	rm -rf $(VENV) build .pytest_cache .ruff_cache
	find gentoolkit tests tools -name __pycache__ -prune -exec rm -rf {} +
