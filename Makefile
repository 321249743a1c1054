# make serve         run `dragoman demo`: the shipped mappings on a built-in mock of a model server (PORT=8080)
# make test          run all tests: about eight minutes on two idle cores
# make test-fast     run those of the language and the command line: under a minute
# make test-clients  run client libraries against `make serve`, and write the table of docs/clients.md
# make test-browser  run those that need Chromium
# make test-soak     run those of the serving path, and those of properties, in their heavy form: hours of traffic
# make test-latest   run all with the newest versions of all dependencies
# make image         build the image; ENGINE=docker, BASE=image
# make image-test    build and run it by docker, podman or buildah; skipped where none works
# make release-check build and verify the distributions; TAG=v1.2.3 also checks whether they can be published
# make release-notes print the section of CHANGELOG.md for VERSION
# Both set up what they need in $(VENV), with no more than Python 3.11 and a package registry.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8080
# Of the tests: half as many again as there are cores, as many a test waits for a clock; not more than memory allows.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(8, (3 * (os.cpu_count() or 1) + 1) // 2))')
BIN = $(VENV)/bin

.PHONY: serve test test-fast test-clients test-browser test-soak test-latest lint format types check bench bench-quick bench-document docs lock release-check release-notes image image-test install clean

serve: $(VENV)/.serve
	exec $(BIN)/dragoman demo --port $(PORT)

test: $(VENV)/.dev
	@echo "all tests: about eight minutes on two idle cores; make test-fast takes under a minute"
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
	$(BIN)/dragoman validate mappings examples
	$(BIN)/dragoman test mappings examples --require-coverage

# tests/fast.txt lists tests that need no sockets but for those of the command line, without the properties that take
# long. They also run on Windows.
test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal @tests/fast.txt
	$(BIN)/dragoman test mappings

test-browser: $(VENV)/.dev
	$(BIN)/python -m pytest tests/browser

# The same tests with the newest versions that pyproject.toml allows, in an environment of their own. Not part of
# `check`: what a release of somebody else breaks is to be known, not to stop a change of ours.
test-latest: $(VENV)-latest/.dev
	$(VENV)-latest/bin/python -m pytest -n $(WORKERS) --dist worksteal

# The Python clients have environments of their own, two as some need openai 2; the npm packages are installed into
# tests/clients/node_modules. All are as their locks have them.
CLIENTS = $(VENV)-clients

test-clients: $(VENV)/.dev $(CLIENTS)/.clients $(CLIENTS)-openai-2/.clients
	@if command -v node >/dev/null && command -v npm >/dev/null; then \
	    cd tests/clients && npm ci --ignore-scripts; \
	else \
	    echo 'test-clients: the JavaScript clients are skipped, as node or npm is not installed'; \
	fi
	CLIENTS_VENV=$(CLIENTS) CLIENTS_TABLE=1 $(BIN)/python -m pytest -rs tests/clients

PROPERTIES = $(addprefix tests/,language compiler http codecs testing translation) $(addprefix tests/,test_values.py)

test-soak: $(VENV)/.dev
	DRAGOMAN_TORTURE=1 $(BIN)/python -m pytest $(addprefix tests/,client observability server stores)
	DRAGOMAN_TORTURE=1 $(BIN)/python -m pytest -n auto $(PROPERTIES)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev
	$(BIN)/mypy

check: lint types test

# With AGAINST=path only the CPU time of this checkout, compared with that of another one.
bench: $(VENV)/.dev
ifdef AGAINST
	$(BIN)/python -m benchmarks --against $(AGAINST) --rounds 8
	$(BIN)/python -m benchmarks.callbacks --against $(AGAINST)
else
	$(BIN)/python -m benchmarks.transform --check
	$(BIN)/python -m benchmarks.hops --check
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.callbacks
	$(BIN)/python -m benchmarks.doubling --check
endif

bench-quick: $(VENV)/.dev
	$(BIN)/python -m benchmarks.transform --check --rounds 20
	$(BIN)/python -m benchmarks.hops --check --rounds 10
	$(BIN)/python -m benchmarks --quick

# The results of docs/benchmarks.md, with its tables and its chart.
bench-document: $(VENV)/.dev
	$(BIN)/python -m benchmarks --install --json docs/benchmarks.json
	$(BIN)/python -m benchmarks.document docs/benchmarks.json

# docs/reference.md, from the schemas and the functions.
docs: $(VENV)/.serve
	$(BIN)/python -m docs.generate

# The locks, with hashes, from pyproject.toml: what the image installs, and what builds it; what builds and checks a
# release; what development installs; the clients.
LOCK = $(VENV)-lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
    --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'
BUILD_REQUIRES = import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")

lock: $(VENV)-lock/.uv
	$(LOCK) --extra http2 --extra redis pyproject.toml --output-file deploy/requirements.lock
	$(PYTHON) -c '$(BUILD_REQUIRES)' | $(LOCK) - --output-file deploy/requirements-build.lock
	$(PYTHON) -c '$(BUILD_REQUIRES)' | $(LOCK) --group release - --constraint deploy/requirements-build.lock \
	    --output-file deploy/requirements-release.lock
	$(PYTHON) -c '$(BUILD_REQUIRES)' | $(LOCK) --extra dev pyproject.toml - --output-file tests/requirements.lock
	$(LOCK) tests/clients/requirements.in --output-file tests/clients/requirements.lock
	$(LOCK) tests/clients/requirements-openai-2.in --output-file tests/clients/requirements-openai-2.lock

# Builds the distributions into dist/ and checks them: metadata, content, the tests of the source distribution, the
# wheel in an environment of its own, and the version wherever it is repeated. With TAG=v…, problems that only prevent
# publishing (tag, release notes, URLs, uncommitted changes) are errors.
release-check: $(VENV)/.dev $(VENV)-release/.release
	$(BIN)/python deploy/release.py check $(if $(TAG),--tag '$(TAG)')
	rm -rf dist
	$(VENV)-release/bin/python -m build --no-isolation --outdir dist .
	$(VENV)-release/bin/python -m twine check --strict dist/*
	DRAGOMAN_DIST=dist $(BIN)/python -m pytest tests/test_packaging.py tests/test_release.py tests/test_version.py \
	    tests/test_project_files.py $(addprefix tests/test_deploy_image.py::,test_the_image_has_its_metadata \
	    test_the_labels_of_the_image_are_those_of_the_project)

# A section of CHANGELOG.md: make release-notes VERSION=1.2.3
release-notes:
	@$(PYTHON) deploy/release.py notes $(VERSION)

# The image, by docker or another ENGINE. BASE is another base image, BUILD_FLAGS more options, such as secrets.
IMAGE_ENGINE = $(or $(ENGINE),docker)
PROJECT_VERSION = $(shell $(PYTHON) -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')
IMAGE ?= dragoman:$(PROJECT_VERSION)

# podman and buildah omit HEALTHCHECK from images in their default format.
image:
	$(IMAGE_ENGINE) build $(if $(filter-out docker,$(IMAGE_ENGINE)),--format docker) \
	    --build-arg VERSION=$(PROJECT_VERSION) --build-arg REVISION=$(or $(shell git rev-parse HEAD 2>/dev/null),unknown) \
	    $(if $(BASE),--build-arg BASE=$(BASE)) $(BUILD_FLAGS) --tag $(IMAGE) .

# Builds and runs the image by the first engine that works: docker, podman, buildah. With buildah, root and debootstrap no
# registry is needed: the base image is built from the packages of MIRROR.
image-test: $(VENV)/.dev
	DRAGOMAN_IMAGE_ENGINE='$(ENGINE)' DRAGOMAN_IMAGE_BASE='$(BASE)' DRAGOMAN_IMAGE_MIRROR='$(MIRROR)' \
	    $(BIN)/python -m pytest -rs tests/image

install: $(VENV)/.serve

clean:
	rm -rf $(VENV) $(VENV)-latest $(VENV)-lock $(VENV)-release $(CLIENTS) $(CLIENTS)-openai-2 tests/clients/node_modules \
	    build dist .mypy_cache .ruff_cache .hypothesis

# The marker files record the set-up of a virtual environment; a change of pyproject.toml or a lock renews it.
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check
PYTHON_IS_NEW_ENOUGH = import sys; sys.exit("Dragoman needs Python 3.11 or later" if sys.version_info < (3, 11) else 0)

$(VENV)/.serve: pyproject.toml deploy/requirements.lock deploy/requirements-build.lock
	$(PYTHON) -c '$(PYTHON_IS_NEW_ENOUGH)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) --require-hashes --requirement deploy/requirements-build.lock
	$(BIN)/python $(PIP_INSTALL) --require-hashes --requirement deploy/requirements.lock
	$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.serve tests/requirements.lock
	$(BIN)/python $(PIP_INSTALL) --require-hashes --requirement tests/requirements.lock
	touch $@

$(CLIENTS)/.clients: tests/clients/requirements.lock
$(CLIENTS)-openai-2/.clients: tests/clients/requirements-openai-2.lock
$(CLIENTS)/.clients $(CLIENTS)-openai-2/.clients:
	$(PYTHON) -c '$(PYTHON_IS_NEW_ENOUGH)'
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python $(PIP_INSTALL) --require-hashes --requirement $<
	touch $@

$(VENV)-latest/.dev: pyproject.toml
	$(PYTHON) -c '$(PYTHON_IS_NEW_ENOUGH)'
	$(PYTHON) -m venv --clear $(VENV)-latest
	$(VENV)-latest/bin/python $(PIP_INSTALL) --editable '.[dev]'
	touch $@

# `build` uses the build backend of this environment (--no-isolation), so the locks pin it too.
$(VENV)-release/.release: deploy/requirements-release.lock
	$(PYTHON) -c '$(PYTHON_IS_NEW_ENOUGH)'
	$(PYTHON) -m venv --clear $(VENV)-release
	$(VENV)-release/bin/python $(PIP_INSTALL) --require-hashes --requirement deploy/requirements-release.lock
	touch $@

# An environment of its own: the others are made from the locks.
$(VENV)-lock/.uv:
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python $(PIP_INSTALL) uv
	touch $@
