"""Writes docs/reference/cli.md from the command line's own parser; a test keeps the page true.

``python tools/cli_reference.py`` prints the page, ``--write`` puts it in its place.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from runyard.cli.main import BROKEN_PIPE, EXIT_CODES, parser
from runyard.cli.parsing import CommandParser

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
# ruff: noqa: E501 -- a paragraph of the page is a line
HEAD = """# The command line

`runyard`, also `python -m runyard`. `make reference` writes this page from the parser itself; `runyard COMMAND --help` says the same.

- **RUN** is a run's id, its beginning or its end as long as that names one run, or `@last` for the newest.
- **The workspace** is the one that `--workspace NAME` names, else what a `config.json` in this folder or above names (see `Workspace.from_config`), else `default`. With `RUNYARD_SERVER` and `RUNYARD_TOKEN` set it is that server's. Its server starts by itself.
- **`--json`** gives one JSON document on standard output and nothing else: what the server's API says, times as seconds since the epoch, sizes in bytes. Numbers that JSON has not are the texts "NaN", "Infinity" and "-Infinity". What a person would read meanwhile goes to standard error.
- **Errors** are one line `error: ...` on standard error, with `--json` an object `{"error": {"code", "message", "details"}}` there ([codes](errors.md)). `RUNYARD_DEBUG=1` shows tracebacks.
- Tables are cut to the terminal's width, except for ids; in a pipe nothing is cut. `NO_COLOR` turns colours off.
"""


def commands(top: CommandParser) -> Iterator[CommandParser]:
    """Every command that does something, in the order of the help."""
    inner = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield top
    for action in inner:
        for below in action.choices.values():
            yield from commands(below)


def arguments(command: CommandParser) -> Iterator[tuple[str, str]]:
    """(how it is written, what it is for) of a command's own arguments."""
    for action in command._actions:
        if action in command.common._group_actions:
            continue
        shown = str(action.metavar or action.dest)
        if action.option_strings:
            value = "" if action.nargs == 0 else " " + shown
            yield ", ".join(f"`{option}{value}`" for option in action.option_strings), str(action.help)
        else:
            yield f"`{shown}`", str(action.help)


def section(command: CommandParser) -> str:
    """The part of the page about one command."""
    lines = [
        f"## `{command.prog}`",
        "",
        f"`{command.usage_line()}`",
        "",
        str(command.description).replace("%%", "%"),
        "",
    ]
    rows = [f"- {written}: {purpose}".replace("%%", "%") for written, purpose in arguments(command)]
    lines += rows + [""] if rows else []
    if command.epilog:
        examples = [line.strip() for line in command.epilog.replace("%%", "%").split("\n")[1:]]
        lines += ["```sh", *examples, "```", ""]
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    top = parser()
    codes = [
        f"| {code} | {meaning} |" for code, meaning in [*EXIT_CODES, (BROKEN_PIPE, "whoever read the output went away")]
    ]
    table = "\n".join(["## Exit codes", "", "| code | meaning |", "|---|---|", *codes]) + "\n"
    everywhere = "\n".join(
        ["## Everywhere", ""]
        + [f"- `{', '.join(action.option_strings)}`: {action.help}" for action in top.common._group_actions]
    )
    return "\n".join([HEAD, table, everywhere + "\n", *[section(command) for command in commands(top)]]).rstrip() + "\n"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")
