# The commands people use. Each does first whatever set-up is missing.
#   make train                                   ResNet-44, DM, CIFAR-100 without label noise
#   make train ARGS="prototxt/res44_cce --noise 0.4 --max-iter 20"
#   make test | test-slow | test-upstream | test-gpu | soak | lint | lock | audit
#   make cuda                                    Caffe for GPUs, compiled, linked and checked; no GPU is needed
PYTHON := .venv/bin/python
ARGS ?=
# ARGS may hold only options: then the default setting is trained.
SETTING := $(if $(filter-out -%,$(firstword $(ARGS))),,prototxt/res44_usw)

.PHONY: setup train evaluate compare report prepare test test-slow test-upstream test-gpu soak cuda lint lock audit

setup:
	@docker/setup.sh

train: setup
	$(PYTHON) -m solvers.train $(SETTING) $(ARGS)

evaluate compare report: setup
	$(PYTHON) -m solvers.$@ $(ARGS)

prepare: setup
	$(PYTHON) data_toolkit/prepare.py $(ARGS)

# Our tests and upstream's pycaffe tests.
test: setup
	@docker/apt.sh docker/apt-test.txt
	$(PYTHON) -m pytest -m "not slow" tests $(ARGS)

test-slow: setup
	$(PYTHON) -m pytest -m slow tests $(ARGS)

# Upstream's CPU C++ tests and those of our layers: 5 minutes to compile, 1 to run.
test-upstream: setup
	$(PYTHON) docker/build_caffe.py --gtests

# Two hours of training with kills: memory and files stay in order. ARGS="--minutes 20" for less.
soak: setup
	PYTHONPATH=. $(PYTHON) tests/solvers/soak.py $(ARGS)

# CUDA, cuDNN and NCCL are installed into the cache (3 GB). CAFFE_CUDA=/usr/local/cuda takes that toolkit instead,
# CAFFE_CUDA_ARCHS=86 compiles for that GPU only. Keep CAFFE_CUDA set for later calls of make.
cuda: export CAFFE_CUDA := $(or $(CAFFE_CUDA),1)
cuda: setup
	$(PYTHON) docker/check_cuda.py

# Needs a GPU and CAFFE_CUDA in the environment: our tests marked gpu, and upstream's C++ tests on the GPU.
test-gpu: setup
	$(PYTHON) -m pytest -m gpu tests $(ARGS)
	$(PYTHON) docker/build_caffe.py --gtests

lint: setup
	.venv/bin/ruff check .
	.venv/bin/hadolint docker/Dockerfile

# Pin the newest packages that pyproject.toml admits, with hashes.
lock: setup
	@docker/lock.sh

# Known vulnerabilities of the pinned packages. Asks PyPI, so it needs the internet.
audit: setup
	docker/uv.sh tool run pip-audit@2.10.1 --disable-pip --require-hashes --strict -r requirements-dev.lock
