"""Who may import whom: the contracts of .importlinter, and a client of the standard library only."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SDK_FILES = sorted((ROOT / "sdk" / "runyard").rglob("*.py"))
AZUREML_FILES = sorted((ROOT / "azureml" / "azureml").rglob("*.py"))

IN_THE_CLUSTERS_PYTHON = {  # runs where its engine's own library is
    "sdk/runyard/job/ray_gang.py": {"ray"},
    "sdk/runyard/job/ray_notice.py": {"ray"},
}


def _imported(path):
    """The first word of every module that a file imports absolutely, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def _name(path):
    return str(path.relative_to(ROOT))


def test_every_contract_of_import_linter_is_kept():
    pytest.importorskip("importlinter", reason="import-linter is not installed: run `make test`")
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT / "sdk"), str(ROOT / "server")]))
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]

    checked = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert " 0 broken" in checked.stdout


@pytest.mark.parametrize("path", SDK_FILES, ids=_name)
def test_the_sdk_imports_nothing_but_the_standard_library(path):
    assert set(_imported(path)) <= sys.stdlib_module_names | {"runyard"} | IN_THE_CLUSTERS_PYTHON.get(
        _name(path), set()
    )


@pytest.mark.parametrize("path", AZUREML_FILES, ids=_name)
def test_azureml_imports_nothing_but_runyard_and_the_standard_library(path):
    assert set(_imported(path)) <= sys.stdlib_module_names | {"runyard", "azureml"}


@pytest.mark.parametrize("path", SDK_FILES + AZUREML_FILES, ids=_name)
def test_the_client_is_written_in_the_grammar_of_python_3_7(path):
    ast.parse(path.read_text(), filename=str(path), feature_version=(3, 7))
