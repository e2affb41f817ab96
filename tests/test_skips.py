"""``RUNYARD_REQUIRE_ALL=1`` turns a skipped test into a failed one: proven on a small project with our conftest."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = """
import pytest

def test_that_passes():
    pass

def test_that_skips():
    pytest.skip("no such engine here")

@pytest.mark.gpu
def test_without_its_gpu():
    pytest.skip("no GPU here")

@pytest.mark.xfail(reason="known")
def test_that_fails_as_expected():
    assert False
"""
MODULE_THAT_SKIPS = "import pytest\npytest.importorskip('a_module_that_nobody_has')\n"


@pytest.fixture
def run_tests(tmp_path, monkeypatch):
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    gpu: needs a GPU\n")
    monkeypatch.delenv("RUNYARD_REQUIRE_ALL", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(str(ROOT / wheel) for wheel in ("sdk", "azureml")))

    def run(tests):
        (tmp_path / "test_them.py").write_text(tests)
        command = [sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout

    return run


def test_without_the_variable_a_skip_stays_a_skip(run_tests):
    assert "1 passed, 2 skipped, 1 xfailed" in run_tests(TESTS)


def test_with_the_variable_a_skip_is_a_failure_that_tells_the_reason(run_tests, monkeypatch):
    monkeypatch.setenv("RUNYARD_REQUIRE_ALL", "1")

    said = run_tests(TESTS)

    assert "1 failed, 1 passed, 1 skipped, 1 xfailed" in said
    assert "no such engine here" in said


def test_with_the_variable_a_module_that_skips_itself_is_an_error(run_tests, monkeypatch):
    monkeypatch.setenv("RUNYARD_REQUIRE_ALL", "1")

    said = run_tests(MODULE_THAT_SKIPS)

    assert "1 error" in said
    assert "a_module_that_nobody_has" in said
