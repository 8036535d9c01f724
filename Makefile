# Thin: each target is one line of the project's own commands. Needs Python 3.11 to 3.13.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NAME ?= default

.PHONY: run test try site test-browser torture notebooks data lab page slides headline headline-check bench bench-quick clean

# Creates the environment once, and again when pyproject.toml changes.
$(VENV)/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11 to 3.13 is needed, this is $$($(PYTHON) --version); try make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[transfer,export,page,dev]'
	@touch $@

run: $(VENV)/ready        ## execute the whole series into runs/default (NAME=... for another)
	$(BIN)/pnlib run --name $(NAME)

test: $(VENV)/ready       ## lint, types, unit tests with the examples, and nbval on every notebook; four at a time, since many wait
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

try: $(VENV)/ready        ## build the page that asks the compact network in a browser, into try/dist; needs npm
	$(BIN)/python try/build.py

site: try                 ## build the course as a site, with API reference and search, into site/dist
	$(BIN)/python -m pip install --quiet --editable '.[site]'
	$(BIN)/python site/pages.py

test-browser: site        ## test the site and that page in headless Chromium, where it is installed
	$(BIN)/python -m pip install --quiet --editable '.[browser]'
	$(BIN)/python -m pytest tests/browser

torture: $(VENV)/ready    ## kill, cut and starve real trainings for a while; writes docs/torture.md
	$(BIN)/python tests/project/torture.py

notebooks: $(VENV)/ready  ## execute the notebooks and save them in place, with the README's pictures and table
	$(BIN)/pnlib run --in-place
	$(BIN)/python tests/project/executed.py

data: $(VENV)/ready       ## download the published dataset (1.2 GB) to data/chest_xray
	$(BIN)/pnlib download

lab: $(VENV)/ready        ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

page: $(VENV)/ready       ## ask the trained networks about your own images, in your browser (08_predict as a page)
	$(BIN)/pnlib page

slides: $(VENV)/ready     ## the notebooks' headings, figures and tables as slides, into runs/slides
	$(BIN)/jupyter nbconvert --to slides --no-input --output-dir runs/slides notebooks/0*.ipynb

headline: $(VENV)/ready   ## train both models with five seeds each on the real data, and write every stated result (hours)
	for name in baseline compact short; do $(BIN)/pnlib study studies/$$name.yaml || exit 1; done
	$(BIN)/python benchmarks/headline.py

headline-check: $(VENV)/ready  ## do the stored weights give the stated figures? (a minute; needs the real data)
	$(BIN)/python benchmarks/headline.py --check

.venv-peers/ready: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet -r benchmarks/peers/requirements.txt
	@touch $@

bench: $(VENV)/ready .venv-peers/ready  ## speed against Keras, the public way and PyTorch, into benchmarks/results.json and docs/performance.md (20 minutes)
	$(BIN)/python benchmarks/bench.py --pytorch .venv-peers/bin/python $(ARGS)
	$(BIN)/python benchmarks/plot.py

bench-quick: $(VENV)/ready  ## does every measurement run? (3 minutes; writes nothing)
	$(BIN)/python benchmarks/bench.py --quick

clean:                    ## remove the environment (runs and data stay)
	rm -rf $(VENV) .venv-peers
