"""Tables are read with the caller's own pandas: with today's, and with the last one of Python 3.7."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = "sdk/tests/test_tabular_dataset.py"


def uv(*arguments: str) -> "subprocess.CompletedProcess[str]":
    # The tests' own virtual environment must not be found instead of the one that is asked for.
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    pythons = [folder for folder in (environment.get("PATH"), environment.get("RUNYARD_PYTHONS")) if folder]
    environment["PATH"] = os.pathsep.join(pythons)
    command = [sys.executable, "-m", "uv", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def passed(python: str, packages: Path, tmp_path: Path) -> int:
    """Runs the tests with the packages of a folder besides those of ``python``; how many of them passed."""
    done = subprocess.run(
        [python, "-m", "pytest", TESTS, "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'tests'}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    found = re.search(r"(\d+) passed", done.stdout)
    assert found is not None
    return int(found[1])


@pytest.mark.network
@pytest.mark.slow
def test_tables_are_read_and_written_with_todays_pandas(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    made = uv("pip", "install", "-q", "--python", sys.executable, "--target", str(packages), "pandas", "pyarrow")
    assert made.returncode == 0, made.stderr

    assert passed(sys.executable, packages, tmp_path) >= 38


@pytest.mark.network
@pytest.mark.python37
@pytest.mark.slow
def test_tables_are_read_with_the_pandas_of_python_3_7(tmp_path: Path) -> None:
    found = uv("python", "find", "3.7", "--no-python-downloads", "--no-project")
    if found.returncode != 0:
        pytest.skip("no Python 3.7 here. Put one on PATH, or its folder into RUNYARD_PYTHONS.")
    python, packages = found.stdout.strip(), tmp_path / "packages"
    made = uv("pip", "install", "-q", "--python", python, "--target", str(packages), "pandas", "pyarrow", "pytest")
    assert made.returncode == 0, made.stderr

    assert passed(python, packages, tmp_path) >= 36
