"""The command ``runyard``: reads the command line, calls one command, turns errors into words and exit codes."""

import os
import sys
from typing import TYPE_CHECKING, Any, List, Optional, Sequence, Tuple

from runyard.cli.call import Call
from runyard.cli.output import Output
from runyard.cli.parsing import CommandParser, Commands, UsageError, add_common

if TYPE_CHECKING:
    from runyard.workspace import Workspace

EXIT_CODES: List[Tuple[int, str]] = [
    (0, "all went well"),
    (1, "the run failed, or a check did"),
    (2, "the command line or what it asks for is wrong"),
    (3, "no server answers, or it cannot do this now"),
    (4, "there is no such thing"),
    (5, "the run was canceled"),
    (70, "runyard itself is at fault; a traceback says where"),
    (130, "interrupted (Ctrl-C)"),
]
BROKEN_PIPE = 141  # what a shell gives to a command that a closed pipe ended

_GROUPS = [
    ("Run a script", ["submit", "run", "why", "rerun", "tensorboard"]),
    ("Keep what comes of it", ["experiment", "model", "datastore", "import"]),
    ("Where it runs", ["compute", "env"]),
    (
        "The workspace and its server",
        ["workspace", "status", "up", "down", "sync", "retention", "clean", "backup", "restore"],
    ),
]

_EXAMPLES = """
runyard submit -f train.py --epochs 20        send the folder, run the script, follow its log
runyard run list                              what ran, and what runs
runyard run metrics @last                     what the newest run logged
runyard model register digits outputs/model --run @last
runyard run list --json | jq -r '.[].id'      every command has --json
"""


def parser() -> CommandParser:
    """The whole command line."""
    from runyard.cli import (
        backups,
        cleaning,
        computes,
        datastores,
        environments,
        experiments,
        imports,
        models,
        retention,
        runs,
        server,
        submit,
        tensorboards,
        workspaces,
    )

    top = CommandParser(prog="runyard", description="Submit training scripts, follow them, keep their models.")
    add_common(top)
    top.common.add_argument("--version", action="version", version=_version(), help="print the version")
    commands = Commands(top, "COMMAND")
    kept = (experiments, models, datastores, imports)
    looked_after = (workspaces, server, retention, cleaning, backups)
    for module in (submit, runs, tensorboards, *kept, computes, environments, *looked_after):
        module.add(commands)
    _describe(top, commands)
    return top


def main(argv: Optional[Sequence[str]] = None, workspace: Optional["Workspace"] = None) -> int:
    """Runs one command and gives its exit code (see ``EXIT_CODES``).

    Args:
        argv: the words after ``runyard``; default: this process's.
        workspace: the workspace to use, whatever the command line says.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a log may hold what the terminal has no letters for
    try:
        code = _run(words, workspace)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read us has enough. Nothing more may be written, not even by the interpreter's own flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE


def _run(words: List[str], workspace: Optional["Workspace"]) -> int:
    from runyard.errors import RunyardError

    try:
        given = parser().parse_args(words)
    except UsageError as fault:
        _tell(_asks_for_json(words), "user_error", str(fault), fault.usage)
        return 2
    except SystemExit as done:  # --help, --version
        return int(done.code or 0)
    if given.command is None:
        sys.stderr.write(given.parser.format_help())
        return 2
    try:
        return int(given.command(Call(given, Output(given.json), workspace)))
    except RunyardError as fault:
        if os.environ.get("RUNYARD_DEBUG") == "1":
            raise
        _tell(given.json, fault.code, fault.message, details=fault.details)
        return exit_code(fault)
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return 130
    except BrokenPipeError:
        raise
    except OSError as fault:
        if os.environ.get("RUNYARD_DEBUG") == "1" or fault.filename is None:
            raise
        _tell(given.json, "user_error", "{}: {}.".format(fault.filename, fault.strerror))
        return 2
    except Exception:
        import traceback

        traceback.print_exc()
        return 70


def exit_code(fault: Exception) -> int:
    """The exit code that stands for an error of ``runyard.errors``."""
    from runyard import errors

    if isinstance(fault, errors.ActivityFailedException):
        return 1
    if getattr(fault, "http_status", 500) == 404:
        return 4
    return 2 if isinstance(fault, (errors.UserErrorException, errors.RunEnvironmentException)) else 3


def _tell(as_json: bool, code: str, message: str, usage: str = "", details: Any = None) -> None:
    if as_json:
        import json

        said = {"error": {"code": code, "message": message, "details": details or {}}}
        sys.stderr.write(json.dumps(said, indent=2, ensure_ascii=False, default=str) + "\n")
        return
    sys.stderr.write("error: {}\n".format(message))
    if usage:
        sys.stderr.write(usage + "\n")


def _asks_for_json(words: List[str]) -> bool:
    return "--json" in words


def _version() -> str:
    from runyard.protocol.version import VERSION

    return "runyard " + VERSION


def _describe(top: CommandParser, commands: Commands) -> None:
    summaries = dict(commands.summaries)
    lines = [top.description or ""]
    for title, names in _GROUPS:
        lines += ["", title + ":"] + ["  {}  {}".format(name.ljust(12), summaries[name]) for name in names]
    top.description = "\n".join(lines)
    notes = ["examples:"] + ["  " + line for line in _EXAMPLES.strip().split("\n")]
    notes += ["", "exit codes:"] + ["  {:<4} {}".format(code, meaning) for code, meaning in EXIT_CODES]
    notes += ["", "`runyard COMMAND --help` says more of each."]
    top.epilog = "\n".join(notes).replace("%", "%%")
