# make demo: set up, reconstruct a built-in scan, and a second one by a network.   make test: set up and run every check.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test lint types layers unit docs bench peers studies study-pinn study-pinn-full study-crystals-full throughput pictures clean

demo: $(VENV)/.core
	mkdir -p demo
	$(BIN)/exitwave simulate textured -o demo/scan.cxi
	$(BIN)/exitwave info demo/scan.cxi
	$(BIN)/exitwave reconstruct demo/scan.cxi -o demo/result.h5
	$(BIN)/exitwave evaluate demo/result.h5 --truth demo/scan.cxi --split-half --report demo/report.html
	@echo "another sample in the same beam: the network of the package in one pass, then refined"
	$(BIN)/exitwave simulate cells --seed 3 -o demo/next.cxi
	$(BIN)/exitwave reconstruct demo/next.cxi general --probe demo/result.h5 -o demo/network.h5 --report demo/network.html
	$(BIN)/exitwave evaluate demo/network.h5 --truth demo/next.cxi
	$(BIN)/exitwave run examples/network_then_rpie.yaml --report demo/refined.html
	$(BIN)/exitwave evaluate demo/refined.h5 --truth demo/next.cxi
	@echo "open demo/report.html, demo/network.html and demo/refined.html in a browser"

test: lint types layers unit

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/pyright

layers: $(VENV)/.dev
	$(BIN)/lint-imports

# One thread a process: two processes fill two processors, and threads that wait for each other would slow both down.
unit: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not slow"

# The packages compared with, in an environment of their own outside the checkout. See docs/measuring.md.
PEERS ?= ../peers-venv
peers:
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check ./benchmarks/peers/torchvision_stand_in
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt .[bench]

studies: $(VENV)/.dev
	$(BIN)/pytest -m slow

# Networks against each other and against none. The first goes on where it was stopped, and takes at most two hours on two
# processors; the second is the published configuration, for a GPU.
study-pinn: $(VENV)/.dev
	$(BIN)/python benchmarks pinn

study-pinn-full: $(VENV)/.dev
	$(BIN)/python benchmarks pinn --full --device cuda

# AutoPhaseNN as published, for a GPU: trains where it was stopped, then measures.
study-crystals-full: $(VENV)/.dev
	$(BIN)/exitwave train autophasenn --network published --grid-px 64 --loss comb2 --schedule plateau --epochs 70 \
	  --samples-per-epoch 52000 --batch 64 --averaging 0 --device cuda --save crystals64 --resume
	$(BIN)/python benchmarks autophasenn --weights crystals64 --crystals 2028 --device cuda

throughput: $(VENV)/.dev
	$(BIN)/python benchmarks throughput
	$(BIN)/python docs/scripts/tables.py

bench: $(VENV)/.dev
	$(BIN)/python benchmarks figures
	$(BIN)/python docs/scripts/tables.py

pictures: $(VENV)/.dev
	$(BIN)/python docs/scripts/pictures.py

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -W -b html docs docs/_build/html

# torch first and from the pinned version: without the pin pip may choose another build, gigabytes larger.
$(VENV)/.torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "exitwave needs Python 3.11 or newer; call make PYTHON=python3.12, for example"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	touch $@

$(VENV)/.core: $(VENV)/.torch pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .[dev]
	touch $@

$(VENV)/.docs: $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .[docs]
	touch $@

clean:
	rm -rf $(VENV) demo docs/_build docs/auto .pytest_cache .ruff_cache
