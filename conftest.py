"""For every test of the repository: what a skip means, and when a test may use the network.

With ``RUNYARD_REQUIRE_ALL=1`` a skipped test is a failed one. Tests that need something real (a database server, an old
Python) skip with the reason where it is missing. CI installs all of it, so a skip there means that something stands
untested.
"""

import functools
import os
import subprocess
import sys

import pytest

import azureml  # noqa: F401  (before pytest takes the wheel's folder, which has the same name, for it)

FORGIVEN = "gpu"  # hardware: nothing that CI could install


def _require_all():
    return os.environ.get("RUNYARD_REQUIRE_ALL") == "1"


def _fail(report):
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = "RUNYARD_REQUIRE_ALL=1, so nothing may be skipped. {}".format(reason)


@functools.lru_cache(maxsize=None)
def _what_the_index_says():
    """What keeps uv from reaching a package index; "" where one answers. Asked once, by the first test that needs it."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--refresh", "-"]
    asked = subprocess.run(command, input=b"iniconfig\n", capture_output=True)
    if asked.returncode == 0:
        return ""
    said = asked.stderr.decode(errors="replace").strip().splitlines()
    return said[-1].strip() if said else "uv failed"


@functools.lru_cache(maxsize=None)
def _torch_brings_cuda():
    """Whether uv would take PyTorch with the libraries of CUDA, which are gigabytes."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--python-version", "3.11", "-"]
    asked = subprocess.run(command, input=b"torch==2.13.0\n", capture_output=True, check=True)
    return b"\nnvidia-" in asked.stdout or b"\ncuda-" in asked.stdout


def pytest_runtest_setup(item):
    if item.get_closest_marker("network") is not None and _what_the_index_says():
        pytest.skip("no package index can be reached: {}".format(_what_the_index_says()))
    if item.get_closest_marker("torch") is not None and _torch_brings_cuda():
        pytest.skip(
            "PyTorch comes with CUDA; name a folder or index with its build for CPUs in UV_FIND_LINKS or UV_INDEX"
        )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    expected_to_fail = hasattr(report, "wasxfail")
    if report.skipped and not expected_to_fail and _require_all() and item.get_closest_marker(FORGIVEN) is None:
        _fail(report)


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and _require_all():
        _fail(report)
