PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

# The kit's matrices are small: more threads only get in each other's way.
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help lab test browser lint fuzz demo bench figures student clean

help:
	@echo "make lab    set everything up and open the course in JupyterLab"
	@echo "make test   set everything up and pass all tests"
	@echo "make browser  only the tests that read the notebooks in a browser; leaves screenshots"
	@echo "make demo   the whole story in the terminal, in two minutes"
	@echo "make bench  speed on this machine (installs PyTorch first)"
	@echo "make figures  every figure of the documents again, an hour or two; goes on if interrupted"
	@echo "make fuzz   ten million damaged frames into both wire decoders"
	@echo "make student  the students' copies of the notebooks, without solutions"
	@echo "make clean  delete what was built"

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lab,data,boards,ble,flower,simulation,test]'
	touch $@

# In a container people often are root; Jupyter wants to be told that this is meant.
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

lab: $(READY)
	@$(BIN)/python -m tinyreptile_lite.lab.jupyter
	$(BIN)/jupyter lab $(ROOT) --ServerApp.ip=127.0.0.1 --ServerApp.root_dir='$(CURDIR)' \
		--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb

# Two at a time; the tests of one file share what they have built, so they stay together.
test: lint
	@$(BIN)/python tests/browsers.py
	$(BIN)/pytest -n 2 --dist loadfile
	$(BIN)/pytest -n 2 --dist loadfile --nbval --nbval-current-env notebooks

# Two notebooks at a time, each in a browser of its own.
browser: $(READY)
	@$(BIN)/python tests/browsers.py
	@echo "The screenshots go to build/browser."
	$(BIN)/pytest -n 2 --dist worksteal tests/test_browser.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fuzz: $(READY)
	cd tests && ../$(BIN)/python fuzz_wire.py --frames 10000000

demo: $(READY)
	$(BIN)/tinyreptile demo --out build/demo

bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/tinyreptile bench host

figures: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/tinyreptile figures

student: $(READY)
	$(BIN)/python -m tinyreptile_lite.exercises.copies notebooks build/student

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis
