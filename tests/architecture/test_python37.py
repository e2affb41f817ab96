"""The client's own tests on a real Python 3.7: grammar and library checks see only what they know."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PINS = ROOT / "requirements" / "python37.txt"


def _uv(*arguments):
    # The tests' own virtual environment must not be found instead of the one that is asked for.
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    pythons = [folder for folder in (environment.get("PATH"), environment.get("RUNYARD_PYTHONS")) if folder]
    environment["PATH"] = os.pathsep.join(pythons)
    command = [sys.executable, "-m", "uv", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def python37(tmp_path_factory):
    """The Python of a fresh 3.7 environment with pytest and the standard library, nothing of ours."""
    found = _uv("python", "find", "3.7", "--no-python-downloads", "--no-project")
    if found.returncode != 0:
        pytest.skip("no Python 3.7 here. Put one on PATH, or its folder into RUNYARD_PYTHONS.")
    folder = tmp_path_factory.mktemp("python37")
    made = _uv("venv", "--quiet", "--no-project", "--python", found.stdout.strip(), str(folder))
    assert made.returncode == 0, made.stderr
    python = folder / "bin" / "python"
    filled = _uv("pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(PINS))
    assert filled.returncode == 0, filled.stderr
    return python


@pytest.mark.python37
@pytest.mark.network
def test_the_clients_tests_pass_on_python_3_7(python37, tmp_path):
    command = [
        str(python37),
        "-m",
        "pytest",
        "sdk/tests",
        "azureml/tests",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path / 'tests'}",
    ]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
