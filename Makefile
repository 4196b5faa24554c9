# Everything is done in .venv at the root, set up once. `make demo` and `make test` need Debian 12 with Python 3.11 and nothing else.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export PYTHONDONTWRITEBYTECODE ?=
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := 1

.PHONY: help setup demo docs docs-test test test-swift test-production test-label-studio test-ray check lint unit bench wheel sbom clean lane-flows lane-parts lane-console lane-edge
help:
	@echo "make demo    the whole loop on real images: a model breaks, and heals (some minutes after set-up)"
	@echo "make test    every check and test (at most 15 minutes on 2 cores)"
	@echo "make test-swift  the bucket's tests on OpenStack Swift over TLS (needs Debian's packages of it)"
	@echo "make test-production  the whole loop on PostgreSQL and OpenStack Swift, both over TLS"
	@echo "make test-label-studio  the connector on a real Label Studio (1 GB, an environment of its own)"
	@echo "make test-ray  retrains on a real Ray cluster of two workers, some of them killed (adds Ray to .venv, 300 MB)"
	@echo "make check   lint, types, import directions, unit tests (under 90 seconds)"
	@echo "make bench   every figure the project claims, beside its peers; writes docs/benchmarks-*.md"
	@echo "make docs    the documentation as a site, into dist/site"
	@echo "make docs-test   every command in the documentation, against a real stack (some minutes)"
	@echo "make wheel   the edge wheel, into dist/"
	@echo "make sbom    bills of material of the wheel and of the cloud's environment, into dist/"

setup: $(READY)

$(READY): pyproject.toml constraints.txt infra/setup.sh
	@PYTHON=$(PYTHON) infra/setup.sh
	@touch $@

demo: setup
	@$(BIN)/andon rehearse --demo $(DEMO)

# Side by side: the unit tests wait for one another here and there, and lint has one process.
check: setup
	@$(MAKE) --no-print-directory -j2 -O lint unit

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Several test processes share the cores: a second thread in each only waits for the others' (lane-flows takes half as long).
ALONE := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

unit: setup
	$(ALONE) $(BIN)/python -m pytest tests/unit -q -n 2 -p no:schemathesis

# Three lanes side by side, the longest first: most of their time is waiting for servers. The whole loop comes last, alone.
test: check
	@$(MAKE) --no-print-directory -j3 -O lane-flows lane-parts lane-console lane-edge
	$(BIN)/python -m pytest tests/acceptance -q

FLOWS := tests/integration/flows tests/integration/gate
CONSOLE := tests/integration/console
EDGE := tests/integration/capture tests/integration/serving tests/integration/updates
lane-flows:
	$(ALONE) $(BIN)/python -m pytest $(FLOWS) -q
lane-edge:
	$(ALONE) $(BIN)/python -m pytest $(EDGE) -q
lane-console:
	$(ALONE) $(BIN)/python -m pytest $(CONSOLE) -q
lane-parts:
	$(ALONE) $(BIN)/python -m pytest tests/integration $(foreach part,$(FLOWS) $(CONSOLE) $(EDGE),--ignore=$(part)) -q

# Apart from `test`: the packages take longer to install than all else that is needed from Debian.
SWIFT := swift-proxy swift-account swift-container swift-object python3-swiftclient memcached
test-swift: setup
	@command -v swift-proxy-server swift memcached >/dev/null || \
		{ echo "missing: run: sudo apt-get install --no-install-recommends $(SWIFT)" >&2; exit 1; }
	$(BIN)/python -m pytest tests/swift -q

# What opens a catalog; of the backups of files, which are SQLite's, PostgreSQL has its own tests in integration/data.
CATALOG := tests/unit/data tests/unit/ingest tests/unit/fleet $(CONSOLE) \
	$(addprefix tests/integration/,connect data fleet fleet_settings ingest shadow)
test-production: setup
	@command -v swift-proxy-server memcached promtool >/dev/null || \
		{ echo "missing: run: sudo apt-get install --no-install-recommends $(SWIFT) prometheus" >&2; exit 1; }
	$(BIN)/python -m pytest tests/production -q
	$(ALONE) $(BIN)/python -m pytest -q -p tests.production.stack_elsewhere $(FLOWS)
	$(ALONE) $(BIN)/python -m pytest -q -p tests.production.catalog_on_postgres $(CATALOG)

test-label-studio: setup
	@test -x .venv-label-studio/bin/label-studio || \
		{ $(PYTHON) -m venv .venv-label-studio && .venv-label-studio/bin/pip install --quiet label-studio==1.23.2; }
	$(BIN)/python -m pytest tests/label_studio -q -s

# Ray's packages leave the pinned ones as they are; so they go beside them.
test-ray: setup
	@$(BIN)/python -c 'import ray, prefect_ray' 2>/dev/null || \
		$(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt ray prefect-ray
	$(BIN)/python -m pytest tests/ray -q -s

bench: setup
	for group in device learning fleet people; do $(BIN)/python -m benchmarks --group $$group --page docs/benchmarks-$$group.md || exit 1; done

# The variable silences what the theme prints about its successor: no warning about these pages.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --config-file infra/docs_site/mkdocs.yml

docs-test: setup
	$(BIN)/python -m pytest tests/docs -q -s

wheel: setup
	$(BIN)/python -m build --wheel --outdir dist edge_client

sbom: wheel
	$(BIN)/andon sbom edge --wheel dist/andon_edge-*.whl --out dist/edge.cdx.json
	$(BIN)/andon sbom cloud --out dist/cloud.cdx.json

clean:
	rm -rf .venv .venv-label-studio dist build
