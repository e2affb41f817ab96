"""One meaning per word: folders, statuses and reasons have their line in the docs, names say what a thing is."""

import re
from pathlib import Path

import pytest

from runyard.errors import BY_CODE
from runyard.protocol.status import Reason, RunStatus

ROOT = Path(__file__).parents[2]
PACKAGES = [ROOT / "sdk" / "runyard", ROOT / "server" / "runyard_server", ROOT / "azureml" / "azureml"]
NAMES_WITHOUT_AN_IDEA = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers", "core"}
AZURES_OWN = ROOT / "azureml"  # there the names are Azure ML's


def _terms(page):
    """The words that a page explains: those in bold or code at the start of a list item or a table row."""
    return set(
        re.findall(r"^(?:- |\| *)(?:\*\*|`)([^*`]+)(?:\*\*|`)", (ROOT / "docs" / page).read_text(), re.MULTILINE)
    )


def _folders():
    return sorted({path.parent for package in PACKAGES for path in package.rglob("*.py")} - set(PACKAGES))


@pytest.mark.parametrize("folder", _folders(), ids=lambda folder: str(folder.relative_to(ROOT)))
def test_every_folder_is_a_word_of_the_glossary(folder):
    assert folder.name in _terms("glossary.md") or AZURES_OWN in folder.parents


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_no_file_or_folder_is_named_for_having_no_idea(package):
    if AZURES_OWN in package.parents:
        named = {path.stem for path in package.rglob("*.py")}
    else:
        named = {part for path in package.rglob("*.py") for part in path.relative_to(package).with_suffix("").parts}

    assert not named & NAMES_WITHOUT_AN_IDEA


def test_every_status_that_a_run_leaves_by_itself_has_its_file_in_lifecycle():
    files = {path.stem for path in (ROOT / "server" / "runyard_server" / "lifecycle").glob("*.py")}
    left_by_the_client = {RunStatus.NOT_STARTED}
    named = {
        re.sub(r"(?<!^)(?=[A-Z])", "_", str(status)).lower()
        for status in set(RunStatus) - left_by_the_client
        if not status.is_terminal
    }

    assert named <= files


def test_every_status_is_explained():
    assert {str(status) for status in RunStatus} <= _terms("reference/statuses.md")


def test_every_reason_is_explained():
    assert {str(reason) for reason in Reason} <= _terms("reference/statuses.md")


def test_every_error_code_is_explained():
    assert set(BY_CODE) == _terms("reference/errors.md")
