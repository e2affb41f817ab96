"""docs/reference/frameworks.md says what the server's table says."""

import importlib.util
import platform
import sys
from pathlib import Path

import pytest

from runyard_server.environments.frameworks import FRAMEWORKS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("frameworks_reference", ROOT / "tools" / "frameworks_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="the page is of Linux on x86-64, as most machines"
)
def test_the_page_is_what_make_reference_writes(reference):
    assert reference.PAGE.read_text() == reference.page(), "Run `make reference`."


def test_every_version_of_every_framework_has_its_row(reference):
    lines = reference.page().splitlines()
    for table in FRAMEWORKS.values():
        for version in [*table.raised, *(release.version for release in table.releases)]:
            assert any(line.startswith((f"| {version} |", f"| **{version}** |")) for line in lines), version
