PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
COURSE := my_course

# The kit's matrices are small: more threads only get in each other's way.
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help lab lab-solved test browser lint fuzz demo bench figures clean

help:
	@echo "make lab    set everything up and open the course in JupyterLab, in your own copies"
	@echo "make lab-solved  the same with the solved notebooks"
	@echo "make test   set everything up and pass all tests"
	@echo "make browser  only the tests that read the notebooks in a browser; leaves screenshots"
	@echo "make demo   the whole story in the terminal, in two minutes"
	@echo "make bench  speed on this machine (installs PyTorch first)"
	@echo "make figures  every figure of the documents again, an hour or two; goes on if interrupted"
	@echo "make fuzz   ten million damaged frames into both wire decoders"
	@echo "make clean  delete what was built, and never $(COURSE)"

# An environment that was moved, or whose Python is gone, is made again.
$(shell test -x $(BIN)/python && test "`cat $(VENV)/place 2>/dev/null`" = "$(CURDIR)/$(VENV)" || rm -f $(VENV)/ready-*)

# What the course needs, what the tests need besides, and PyTorch: each has its own mark.
$(VENV)/ready-lab: pyproject.toml tools/set_up.py
	@$(PYTHON) tools/set_up.py lab

$(VENV)/ready-test $(VENV)/ready-bench: $(VENV)/ready-%: $(VENV)/ready-lab
	@$(PYTHON) tools/set_up.py $*

# In a container people often are root; Jupyter wants to be told that this is meant.
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
# Each has its own workspace, or the one would open the notebooks that were open in the other.
JUPYTER = $(BIN)/jupyter lab $(ROOT) --ServerApp.ip=127.0.0.1 --ServerApp.root_dir='$(CURDIR)' \
	--LabApp.default_url=/lab/workspaces

# A copy that is there already is a student's work: it is never written over.
lab: $(VENV)/ready-lab
	@$(BIN)/python -m tinyreptile_lite.lab.jupyter
	@$(BIN)/python -m tinyreptile_lite.exercises.copies notebooks $(COURSE)
	$(JUPYTER)/$(COURSE)/tree/$(COURSE)/00_start_here.ipynb

lab-solved: $(VENV)/ready-lab
	@$(BIN)/python -m tinyreptile_lite.lab.jupyter
	$(JUPYTER)/solved/tree/notebooks/00_start_here.ipynb

# Two at a time; the tests of one file share what they have built, so they stay together.
# The solved notebooks run elsewhere, as nothing in them may depend on the folder.
test: lint
	@$(BIN)/python tests/browsers.py
	$(BIN)/pytest -n 2 --dist loadfile
	rm -rf build/solved && mkdir -p build/solved/deeper
	cp notebooks/*.ipynb notebooks/conftest.py notebooks/sanitize.cfg build/solved/deeper
	$(BIN)/pytest -n 2 --dist loadfile --nbval --nbval-current-env build/solved

# Two notebooks at a time, each in a browser of its own.
browser: $(VENV)/ready-test
	@$(BIN)/python tests/browsers.py
	@echo "The screenshots go to build/browser."
	$(BIN)/pytest -n 2 --dist worksteal tests/test_browser.py

lint: $(VENV)/ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fuzz: $(VENV)/ready-test
	cd tests && ../$(BIN)/python fuzz_wire.py --frames 10000000

demo: $(VENV)/ready-lab
	$(BIN)/tinyreptile demo --out build/demo

bench: $(VENV)/ready-bench
	$(BIN)/tinyreptile bench host

figures: $(VENV)/ready-bench
	$(BIN)/tinyreptile figures

# What a student has written is not in these folders.
clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis
