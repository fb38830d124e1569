# `make lab` sets everything up and opens the first lesson; `make test` sets everything up and runs all tests.
.PHONY: help setup lab demo test test-kernels-checked lint format bench soak lock wheel check-wheel check-binder clean
.DEFAULT_GOAL := help
BIN := .venv/bin
# Tools start tools by name: cython-lint needs pycodestyle, Jupyter its kernels.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
RUN := OMP_WAIT_POLICY=passive
KERNELS := $(wildcard batlab/_kernels/*.pyx batlab/_kernels/*.h $(foreach at,. * */*,batlab/_kernels/vendor/$(at)/*.[ch]))
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
JOBS := 2
CODE := batlab tests benchmarks scripts setup.py

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 32

.venv/.ready: requirements.lock pyproject.toml setup.py scripts/setup.sh jupyter/batlab.json $(KERNELS)
	bash scripts/setup.sh

setup: .venv/.ready  ## the environment alone

lab: setup  ## open JupyterLab on the first lesson
	$(RUN) $(BIN)/jupyter lab $(ROOT) --LabApp.default_url=/lab/tree/notebooks/01_first_look.ipynb

demo: setup  ## the main job without a browser, into demo/
	$(RUN) $(BIN)/batlab demo demo

test: setup  ## every test: unit, kernels, docstring examples, lessons, browser
	$(RUN) $(BIN)/python -m pytest --doctest-modules -m "not soak and not browser" -n $(JOBS) --dist loadfile batlab tests
	$(RUN) $(BIN)/python -m pytest -m "browser and not soak" --reruns 1 tests/browser
	$(RUN) $(BIN)/python -m pytest --nbval-lax --nbval-cell-timeout=120 -W default -p no:doctest -n $(JOBS) --dist loadfile notebooks

test-kernels-checked: setup  ## the kernel tests on a build with bounds checks
	rm -rf build/checked && mkdir -p build/checked
	cp -r batlab build/checked/batlab && rm -f build/checked/batlab/_kernels/*.so
	BATLAB_KERNEL_CHECKS=1 $(BIN)/python setup.py --quiet build_ext --build-lib build/checked --build-temp build/checked-objects
	cd build/checked && PYTHONPATH=. $(RUN) ../../$(BIN)/python -m pytest -c ../../pyproject.toml --rootdir ../.. -m "not soak" ../../tests/_kernels

lint: setup  ## style, types, import rules, spelling, stripped notebooks
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/cython-lint batlab/_kernels
	$(BIN)/codespell README.md CHANGELOG.md CONTRIBUTING.md $(CODE) binder
	$(BIN)/nbstripout --verify notebooks/*.ipynb

format: setup  ## let ruff and nbstripout tidy the tree
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)
	$(BIN)/nbstripout notebooks/*.ipynb

bench: setup  ## batlab beside its peers on the same work
	$(BIN)/python -m pip install --quiet --disable-pip-version-check bitshuffle==0.5.2 || echo "bench: goes on without bitshuffle"
	$(BIN)/python benchmarks/results.py

soak: setup  ## long random and fault tests
	$(RUN) $(BIN)/python -m pytest -m soak tests

lock: setup  ## renew requirements.lock from pyproject.toml
	$(BIN)/python -m uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet uv
	$(BIN)/python -m uv pip compile --quiet --upgrade --universal --generate-hashes --no-annotate --no-header \
	    --no-emit-index-url --python-version 3.11 --extra lab --extra cluster --extra cycler --extra sas --extra test pyproject.toml -o requirements.lock

wheel: setup  ## build the wheel into dist/
	$(BIN)/python -m build --wheel --no-isolation --outdir dist . >/dev/null

check-wheel: wheel  ## install the wheel into an empty environment elsewhere and run the demo there
	bash scripts/check_wheel.sh

check-binder:  ## do what Binder does, in a clean folder
	bash scripts/check_binder.sh

clean:  ## remove everything that make made
	rm -rf .venv build dist demo *.egg-info batlab/_kernels/*.so batlab/_kernels/*.c .mypy_cache .ruff_cache .hypothesis
