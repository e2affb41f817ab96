"""docs/reference/cli.md says what the command line's parser says."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("cli_reference", ROOT / "tools" / "cli_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_make_reference_writes(reference):
    assert reference.PAGE.read_text() == reference.page(), "Run `make reference`."


def test_every_command_and_argument_says_what_it_is_for(reference):
    found = list(reference.commands(reference.parser()))
    silent = [
        (command.prog, written)
        for command in found
        for written, purpose in reference.arguments(command)
        if purpose in ("", "None")
    ]

    assert len(found) > 40
    assert silent == []


def test_every_command_takes_json_and_workspace(reference):
    for command in reference.commands(reference.parser()):
        assert {"--json", "--workspace"} <= set(command._option_string_actions), command.prog
