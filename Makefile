# The two commands that matter: `make recommend` and `make test`. Each sets up what it needs first.
.DEFAULT_GOAL := help
.PHONY: help setup ready recommend serve live identity rebuild optimize month test test-all lint evaluation bench bench-quick bench-serving chaos broker broker-stop cluster cluster-stop s3 package audit clean lock

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '%-23s%s\n' "  $$name" "$$text"; done

setup: ready  ## Make the environment in .venv, and fetch Java and the jars where they are missing
	@echo "Ready: try 'make recommend'."

ready: .venv/.run
	@$(BIN)/python -m lambda_spark.local.install

recommend: ready  ## Run the whole pipeline and show recommendations; EVENTS=FILES FROM=DATE TO=DATE for own data
	@$(BIN)/python -m lambda_spark.local.demo $(if $(EVENTS),--events $(EVENTS)) $(if $(FROM),--from $(FROM)) $(if $(TO),--to $(TO))

serve: ready  ## Serve the API and its page at http://127.0.0.1:8000, over the tables of a pipeline that runs or has run
	@$(BIN)/python -m lambda_spark.api

live: ready  ## Run broker, replay, both streams and the server together, and watch; EVENTS=FILES SPEED=TIMES-EVENT-TIME
	@$(BIN)/python -m lambda_spark.local.live $(if $(EVENTS),--events $(EVENTS)) $(if $(SPEED),--speed $(SPEED))

identity: ready  ## Check that the views of both layers hold what the events say, row by row
	@$(BIN)/python jobs/identity.py

rebuild: ready  ## Compute every view anew from the master dataset, and swap them in once they are complete
	@$(BIN)/python jobs/rebuild.py

optimize: ready  ## Put small files of the tables together and remove those no reader needs, while the streams run
	@$(BIN)/python jobs/optimize.py

month: ready  ## Generate a month of 67.5 million events, 9 GB, in data/month; ROWS=NUMBER for a smaller one
	@$(BIN)/python -m lambda_spark.local.synthetic $(if $(ROWS),--events $(ROWS))

PYTEST := $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

test: ready .venv/.dev .venv-evaluation/.ready  ## Run the tests that take seconds each, on real Spark, Delta and Kafka, in some minutes
	@$(PYTEST) -m "not long and not slow"

test-all: ready .venv/.dev .venv-evaluation/.ready  ## Run all tests but those for make chaos, as continuous integration does
	@$(PYTEST) -m "not long"

lint: ready .venv/.dev  ## Check style, types and the layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

evaluation: ready .venv-evaluation/.ready  ## Measure how good the rules are, as docs/evaluation.md shows it; some minutes
	@$(BIN)/python jobs/evaluate.py trends --output docs/evaluation-trends.json
	@$(BIN)/python jobs/evaluate.py recommendations --output docs/evaluation-recommendations.json

bench: ready .venv/.bench  ## Measure beside the alternatives and write docs/benchmarks.md, some hours; ONLY="speed ingest" for a part
	@$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY))

bench-quick: ready .venv/.bench  ## The same on small data, once each, in minutes; the document stays as it is
	@$(BIN)/python -m bench --quick $(if $(ONLY),--only $(ONLY))

bench-serving: ready .venv/.bench  ## Measure the API: load beside a constant and a look-up by key, and freshness; needs wrk
	@$(BIN)/python -m bench --only serving serving-freshness

chaos: ready .venv/.dev  ## Kill parts of the running pipeline, let it meet every other fault, compare all tables; ROUNDS=NUMBER SEED=NUMBER
	@$(BIN)/python -m chaos $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

broker: ready  ## Start the local Kafka broker and leave it running
	@$(BIN)/python -m lambda_spark.local.broker start

broker-stop: ready  ## Stop the local Kafka broker
	@$(BIN)/python -m lambda_spark.local.broker stop

cluster: ready  ## Start a Spark cluster on this machine, a master and two workers, for MASTER=spark://127.0.0.1:7077
	@$(BIN)/python -m lambda_spark.local.cluster start

cluster-stop: ready  ## Stop it
	@$(BIN)/python -m lambda_spark.local.cluster stop

s3: ready  ## Fetch what a data root on object storage needs: LAMBDA_DATA_ROOT=s3a://BUCKET/FOLDER
	@$(BIN)/python -m lambda_spark.local.install s3

package: dist/lambda_spark.zip  ## Make dist/lambda_spark.zip, which `spark-submit --py-files` hands to the executors

# A wheel is a zip with the package at its root, which is what Spark asks for; only the name has to end in .zip.
dist/lambda_spark.zip: pyproject.toml $(shell find lambda_spark -type f -not -path "*/__pycache__/*") | ready
	@rm -f dist/*.whl
	@$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .
	@mv dist/*.whl $@

TABLES := events rejected_events replayed_rejects product_activity trends user_brands live_activity recent_brands recommendations
# Named one by one: a file that somebody keeps in data/ must survive.
MADE := $(TABLES) broker evaluation runs report.html identity.json generated-2019-11.csv month month.part

clean:  ## Remove the tables, the topic, the reports and all caches; the environment and own files stay
	@if [ -e .venv/.run ]; then $(BIN)/python -m lambda_spark.local.broker stop; fi
	@rm -rf $(MADE:%=data/%) .runtime/python-workers.log
	@rm -rf .venv-audit .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find jobs lambda_spark tests -name __pycache__ -type d -prune -exec rm -rf {} +
	@rmdir data 2>/dev/null || true
	@echo "Clean."

# pip-audit itself is no dependency of the project: it has an environment of its own. Where the index tells of no holes,
# it finds none: a version with known ones, which nothing here uses, shows whether it does.
AUDIT := .venv-audit/bin/pip-audit --strict --disable-pip --progress-spinner off

audit: .venv-audit/.ready  ## Ask pypi.org for known holes in every locked package; fails on one, and where it cannot tell
	@echo jinja2==2.10 | $(AUDIT) --no-deps --requirement /dev/stdin 2>&1 | grep -q 'Found .* known' || { \
		echo "Nothing was audited: the known holes of pypi.org cannot be reached from here. Connect to the network and repeat it."; \
		exit 2; }
	@for file in requirements/*.txt; do echo "$$file:"; $(AUDIT) --require-hashes --requirement $$file || found=1; done; exit $${found:-0}

.venv-audit/.ready: Makefile
	@$(PYTHON) -m venv --clear .venv-audit
	@.venv-audit/bin/python -m pip --disable-pip-version-check -qq install pip-audit==2.10.1
	@touch $@

LOCK := uv pip compile --universal --generate-hashes --no-header --no-annotate --python-version 3.10 --quiet

lock:  ## Lock the packages again after a change in pyproject.toml (needs uv)
	$(LOCK) pyproject.toml --group build -o requirements/run.txt
	$(LOCK) --group dev -c requirements/run.txt -o requirements/dev.txt
	$(LOCK) --group executors -c requirements/run.txt -o requirements/executors.txt
	$(LOCK) --group java -o requirements/java.txt
	$(LOCK) --group bench -c requirements/dev.txt -o requirements/bench.txt
	$(LOCK) --group bench-streams -o requirements/bench-streams.txt
	$(LOCK) --group bench-flink -o requirements/bench-flink.txt
	$(LOCK) --group evaluation -o requirements/evaluation.txt

.venv/.run: requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "$(PYTHON) is missing or older than 3.10: name a newer one with 'make setup PYTHON=python3.12'."; exit 1; }
	@echo "Installing the Python packages into .venv (once, a minute or two) ..."
	@$(PYTHON) -m venv .venv
	@$(PIP) install --require-hashes -r requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: requirements/dev.txt .venv/.run
	@echo "Installing the tools for tests and checks (once) ..."
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

.venv/.bench: requirements/bench.txt .venv/.run
	@$(PIP) install --require-hashes -r requirements/bench.txt
	@touch $@

.venv-evaluation/.ready: requirements/evaluation.txt
	@echo "Installing what judges recommendations into .venv-evaluation (once, about a minute) ..."
	@$(PYTHON) -m venv --clear .venv-evaluation
	@.venv-evaluation/bin/python -m pip --disable-pip-version-check -qq install --require-hashes -r requirements/evaluation.txt
	@touch $@
