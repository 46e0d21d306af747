# The usual commands; `make help` lists them. Each first does the set-up that is missing.
# Not named PYTHON: that variable of the environment chooses docker/setup.sh's interpreter.
python := .venv/bin/python
ARGS ?=
# If ARGS contains only options, the default setting is trained, unless --released names a run.
SETTING := $(if $(filter-out -%,$(firstword $(ARGS)))$(filter --released%,$(ARGS)),,prototxt/res44_usw)

# Python keeps what it compiles, in __pycache__, even if the environment says otherwise: the tests start Python a thousand times.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := setup
.PHONY: help setup table train evaluate compare report sweep prepare tensorboard test test-slow test-upstream test-sanitized test-gpu soak \
    cuda lint lock audit

help:  ## what each target does
	@sed -n 's/^\([a-z][a-z -]*\):[^#]*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r names text; do \
	    for name in $$names; do printf '  make %-15s %s\n' "$$name" "$$text"; done; done
	@echo 'ARGS passes options on: make train ARGS="prototxt/res44_cce --noise 0.4 --max-iter 20"'

setup:  ## .venv with the pinned packages and a Caffe that holds our layers; CAFFE_BUILD=debug: one for gdb
	@docker/setup.sh

table: setup  ## all that is generated from layers/table.py: Caffe's code and fields, and the tables of the documentation
	$(python) -m layers.generated_docs

train: setup  ## train the setting ARGS; by default ResNet-44 and DM on CIFAR-100 without label noise
	$(python) -m solvers.train $(SETTING) $(ARGS)

evaluate:  ## the checkpoints of the run ARGS on the test images
compare:  ## the run ARGS beside the published one
report:  ## the runs ARGS on one page, as in ARGS="runs/ -o report.html"
evaluate compare report: setup
	$(python) -m solvers.$@ $(ARGS)

sweep: setup  ## the runs of the sweep file ARGS; by default the 48 released ones
	$(python) -m solvers.sweep $(or $(ARGS),sweeps/table1.toml)

prepare: setup  ## CIFAR-100 with the label noise that ARGS says
	$(python) data_toolkit/prepare.py $(ARGS)

tensorboard: .venv/tensorboard/installed.lock  ## the curves of runs/ on http://localhost:6006; ARGS="--port 7007" for another port
	.venv/tensorboard/bin/tensorboard --logdir runs $(ARGS)

# TensorBoard has a separate environment: runs only write its files and do not import it.
.venv/tensorboard/installed.lock: docker/tensorboard.lock | setup
	docker/uv.sh venv -q --allow-existing --no-python-downloads --python $(python) .venv/tensorboard
	VIRTUAL_ENV=.venv/tensorboard docker/uv.sh pip sync -q --require-hashes $<
	cp $< $@

test: setup  ## our tests and upstream's pycaffe tests; ARGS=tests/layers/test_weighting.py for one file
	@docker/apt.sh docker/apt-test.txt
	$(python) -m pytest -m "not slow" $(or $(ARGS),-n auto --maxprocesses 4 --dist loadfile)

test-slow: setup  ## the tests that take minutes
	@docker/apt.sh docker/apt-test.txt docker/apt-slow.txt
	$(python) -m pytest -m slow $(ARGS)

test-upstream: setup  ## upstream's CPU C++ tests and those of our layers: 5 minutes to compile, 1 to run
	$(python) docker/build_caffe.py --gtests

test-sanitized: setup  ## our C++ code, two training steps and hostile inputs under the address and undefined-behaviour sanitisers
	$(python) docker/sanitized.py $(ARGS)

test-gpu: setup  ## the tests that need a GPU, ours and upstream's; CAFFE_CUDA must be set
	$(python) -m pytest -m gpu $(ARGS)
	$(python) docker/build_caffe.py --gtests

soak: setup  ## train and kill for two hours, check memory and files; ARGS="--minutes 20" for less
	PYTHONPATH=. $(python) tests/solvers/soak.py $(ARGS)

# CUDA, cuDNN and NCCL are installed into the cache (3 GB). CAFFE_CUDA=/usr/local/cuda takes that toolkit instead,
# CAFFE_CUDA_ARCHS=86 compiles for that GPU only. Keep CAFFE_CUDA set for later calls of make.
cuda: export CAFFE_CUDA := $(or $(CAFFE_CUDA),1)
cuda: setup  ## Caffe for GPUs, compiled, linked and checked; no GPU is needed
	$(python) docker/check_cuda.py

lint: setup  ## ruff, the order of the folders, docs/architecture.md, hadolint
	.venv/bin/ruff check .
	PYTHONPATH=. .venv/bin/lint-imports --no-cache --no-logo
	$(python) docs/architecture.py --check
	.venv/bin/hadolint docker/Dockerfile

lock: setup  ## pin the newest packages that pyproject.toml admits, with hashes
	@docker/lock.sh

audit: setup  ## known vulnerabilities of the pinned packages; asks PyPI
	docker/uv.sh tool run pip-audit@2.10.1 --disable-pip --require-hashes --strict -r requirements-dev.lock
