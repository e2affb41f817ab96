"""``runyard tensorboard``: runs in TensorBoard while they go on, and numbers from its files and to them."""

from contextlib import redirect_stdout
from typing import TYPE_CHECKING, List

from runyard.cli.call import Call
from runyard.cli.output import counted
from runyard.cli.parsing import Commands, whole_number

if TYPE_CHECKING:
    from runyard.run import Run

_RUN = "the run's id, its beginning or end, or @last"
_DETAILS = """
Fetches the event files that the scripts write below logs/ (those below outputs/ when a run has ended) and what is added
to them, and shows them in TensorBoard until Ctrl+C. TensorBoard is that of runyard's own Python; where it has none, uv
fetches one.
"""


def add(commands: Commands) -> None:
    """Adds ``tensorboard``."""
    parser = commands.verb(
        "tensorboard",
        tensorboard,
        "show runs in TensorBoard while they go on",
        _DETAILS,
        "runyard tensorboard @last\nrunyard tensorboard mnist_1566 mnist_1570 --port 6007\n"
        "runyard tensorboard @last --take\nrunyard tensorboard @last --export exported",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help=_RUN)
    parser.add_argument(
        "--port",
        metavar="N",
        type=whole_number(1),
        default=6006,
        help="where it listens, on this machine (default: 6006)",
    )
    parser.add_argument("--to", metavar="DIR", help="keep the files there (default: a folder that goes at the end)")
    parser.add_argument("--browser", action="store_true", help="open it in a browser")
    parser.add_argument("--python", metavar="PATH", help="an interpreter with TensorBoard in it, instead")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--take",
        action="store_true",
        help="take the numbers in the runs' event files into their metrics, and show nothing",
    )
    instead.add_argument(
        "--export",
        metavar="DIR",
        help="write what the runs and their children have logged to event files there, and show nothing",
    )


def tensorboard(call: Call) -> int:
    """Shows runs until it is ended, or writes files of them."""
    from runyard.beside import ended_in_order
    from runyard.tensorboard import Tensorboard

    given = call.given
    runs = [call.run(named) for named in given.runs]
    if given.take:
        return _take(call, runs)
    if given.export:
        return _export(call, runs)
    board = Tensorboard(runs, local_root=given.to, port=given.port, python=given.python)
    with ended_in_order():
        try:
            with redirect_stdout(call.out.people):
                address = board.start(start_browser=given.browser)
            if call.out.as_json:
                call.out.json({"address": address})
            call.out.note("It shows {} until Ctrl+C.".format(counted(len(runs), "run")))
            return board.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            board.stop()


def _take(call: Call, runs: "List[Run]") -> int:
    taken = {run.id: run.import_tensorboard() for run in runs}
    if call.out.as_json:
        call.out.json(taken)
        return 0
    for run_id, found in taken.items():
        new = _numbers(found["points"])
        metrics, files = counted(len(found["metrics"]), "metric"), counted(found["files"], "event file")
        call.out.say("{}: {} for {}, from {}".format(run_id, new, metrics, files))
        for warning in found["warnings"]:
            call.out.note("warning: " + warning)
    return 0


def _export(call: Call, runs: "List[Run]") -> int:
    from runyard.tensorboard_export import exported

    found = exported(runs, call.given.export)
    if call.out.as_json:
        call.out.json(found._asdict())
    else:
        of_runs = counted(len(found.folders), "run")
        call.out.say("{} of {} to {}".format(_numbers(found.points), of_runs, call.given.export))
        call.out.note("see them:  tensorboard --logdir {}".format(call.given.export))
    return 0


def _numbers(count: int) -> str:
    return "{:,} {}".format(count, "number" if count == 1 else "numbers")
