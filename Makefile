# Every target makes .venv first: quickly when nothing changed, from nothing but Python 3 when it is not there.
PYTHON ?= python3
VENV_PYTHON = .venv/bin/python
COMPILE = .venv/bin/uv pip compile --generate-hashes --no-header --no-annotate --no-emit-index-url --quiet

.DEFAULT_GOAL = help
.PHONY: help demo test pictures chaos contract attacks mlflow check bench format reference requirements clean .venv

help:  ## say what each target does
	@grep -E '^[a-z]+:.*##' Makefile | awk -F ':.*## ' '{printf "make %-13s %s\n", $$1, $$2}'

.venv:
	@$(PYTHON) tools/bootstrap.py

demo: .venv  ## train the article's network on MNIST, from workspace to registered model
	@$(VENV_PYTHON) examples/mnist/demo.py

test: .venv  ## run every test; one that needs something that is not here is skipped and says what
	@$(VENV_PYTHON) -m pytest $(ARGS)

pictures: .venv  ## walk every page in Debian's Chromium over real runs, and put pictures of them into docs/images/
	@RUNYARD_PICTURES=docs/images $(VENV_PYTHON) -m pytest tests/end_to_end/test_pages_in_a_browser.py $(ARGS)

chaos: .venv  ## kill, stop and fill everything in turn, and print what became of it; ARGS=--write puts it into docs/reliability.md
	@$(VENV_PYTHON) -m tests.chaos.table $(ARGS)

contract: .venv  ## run the executors' contract on the real engines and print its table; ARGS=--write puts it into docs/adding-an-executor.md
	@$(VENV_PYTHON) -m tools.contract_table $(ARGS)

attacks: .venv  ## replay known attacks on tools of this kind and print what becomes of them; ARGS=--write puts it into docs/security.md
	@$(VENV_PYTHON) -m tests.security.table $(ARGS)

check: .venv  ## format, lint, types, arrows between the parts, Python 3.7's library in the SDK
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	$(VENV_PYTHON) -m mypy
	PYTHONPATH=sdk:server:azureml .venv/bin/lint-imports --no-cache
	.venv/bin/vermin --quiet --no-tips --violations -t=3.7- sdk/runyard azureml/azureml

mlflow: .venv  ## MLflow's own tests of its REST client against our server; ARGS="path/to/mlflow --write" puts the table into docs/mlflow.md
	@$(VENV_PYTHON) -m tests.mlflow_suite.run $(ARGS)

bench: .venv  ## measure against the floor and against peers; the table goes to docs/benchmarks.md
	@$(VENV_PYTHON) benchmarks/run.py $(ARGS)

format: .venv  ## put every Python file in shape
	.venv/bin/ruff check --fix-only --select I .
	.venv/bin/ruff format .

reference: .venv  ## write docs/reference/sdk.md from the docstrings, cli.md from the parser, frameworks.md from the table
	@$(VENV_PYTHON) tools/reference.py --write
	@$(VENV_PYTHON) tools/cli_reference.py --write
	@$(VENV_PYTHON) tools/frameworks_reference.py --write

requirements: .venv  ## renew the pins (with hashes) from what each pyproject.toml and requirements/*.in ask for
	$(COMPILE) --universal --upgrade --python-version 3.11 --all-extras --no-emit-package runyard \
		server/pyproject.toml -o requirements/server.txt
	$(COMPILE) --universal --upgrade --python-version 3.11 requirements/dev.in -o requirements/dev.txt
	$(COMPILE) --universal --upgrade --python-version 3.11 requirements/mlflow.in -o requirements/mlflow.txt
	$(COMPILE) --universal --upgrade --python-version 3.11 --override requirements/no-torch.txt \
		requirements/autolog.in -o requirements/autolog.txt
	$(COMPILE) --universal --upgrade --python-version 3.11 requirements/tensorboard.in -o requirements/tensorboard.txt
	$(COMPILE) --upgrade --python-version 3.7 requirements/python37.in -o requirements/python37.txt

clean:  ## remove .venv, the tools and every cache
	rm -rf .venv .tools build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
