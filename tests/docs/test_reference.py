"""docs/reference/sdk.md says what the package's docstrings say, for every public name."""

import importlib.util
from pathlib import Path

import pytest

import runyard

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_make_reference_writes(reference):
    assert reference.PAGE.read_text() == reference.page(), "Run `make reference`."


def test_every_public_name_is_there_and_can_be_imported():
    for name in runyard.__all__:
        assert getattr(runyard, name) is not None


def test_every_public_class_and_method_says_what_it_is_for(reference):
    silent = []
    for name in runyard.__all__:
        thing = getattr(runyard, name)
        if isinstance(thing, type) and not issubclass(thing, Exception):
            methods = [
                (f"{name}.{written}", purpose) for written, purpose in reference.members(thing) if "(" in written
            ]
            silent += [what for what, purpose in [(name, reference.first_sentence(thing)), *methods] if not purpose]

    assert silent == []
