"""export_to_tensorboard: the history of runs as event files, for a TensorBoard of one's own."""

import contextlib
import itertools
import os
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

from runyard.errors import UserErrorException
from runyard.event_files import EventFile
from runyard.transfer import contained
from runyard.transport.base import url_path

if TYPE_CHECKING:
    from runyard.experiment import Experiment
    from runyard.run import Run

_SCALAR = "azureml.v1.scalar"
_AT_ONCE = 1000  # metrics on one page


class Exported(NamedTuple):
    """What was written.

    Attributes:
        folders: by run id, of those that have numbers.
        points: how many numbers, in all.
    """

    folders: Dict[str, str]
    points: int


class Curve(NamedTuple):
    """The numbers of one tag."""

    tag: str
    steps: Sequence[int]
    times: Sequence[float]
    values: Sequence[float]


def export_to_tensorboard(
    run_data: "Union[Run, Experiment, Sequence[Run]]", logsdir: str, logger: Any = None, recursive: bool = True
) -> None:
    """Writes what runs have logged to event files below a folder; ``tensorboard --logdir`` shows it.

    Each run has a folder of its id, child runs one within that of the run above them. Done again, it writes the same
    files anew. Numbers become scalars with their steps and times (counted from 0 where they have no steps), lists and
    columns of numbers a scalar for each place. TensorBoard has no more than 32 bits of a number.

    Args:
        run_data: a run, several, or an experiment with all its runs.
        logsdir: the folder; made where it is not there.
        logger: is told of each run, as ``logging`` has it.
        recursive: child runs too, archived ones among them.
    Raises:
        UserErrorException: something that is neither run nor experiment.
    """
    exported(run_data, logsdir, logger, recursive)


def exported(run_data: Any, logsdir: str, logger: Any = None, recursive: bool = True) -> Exported:
    """As ``export_to_tensorboard``; tells what was written."""
    top = os.path.abspath(logsdir)
    os.makedirs(top, exist_ok=True)
    folders: Dict[str, str] = {}
    points = 0
    for run, path in _with_children(_runs(run_data), recursive):
        folder = contained(top, path)
        written = _write(run, folder)
        if written:
            folders[run.id] = folder
            points += written
        if logger is not None:
            logger.info("Run %s: %d numbers to %s", run.id, written, folder)
    return Exported(folders, points)


def _runs(run_data: Any) -> "Iterator[Run]":
    from runyard.experiment import Experiment
    from runyard.run import Run

    if isinstance(run_data, Experiment):
        return run_data.get_runs(view_type="All")
    found = [run_data] if isinstance(run_data, Run) else list(run_data) if isinstance(run_data, (list, tuple)) else None
    if found is None or not all(isinstance(each, Run) for each in found):
        raise UserErrorException(
            "export_to_tensorboard takes a run, a list of runs or an experiment; this is {!r:.200}.".format(run_data)
        )
    return iter(found)


def _with_children(runs: "Iterator[Run]", recursive: bool, above: str = "") -> "Iterator[Tuple[Run, str]]":
    """Each run and its folder's path, with the runs below it."""
    from runyard.run import list_runs

    for run in runs:
        path = above + run.id
        yield run, path
        if recursive:
            # Archived ones too: whoever asks for a run asks for all that is of it.
            children = list_runs(run.experiment.workspace, run.experiment, parent=run.id, view_type="All")
            yield from _with_children(children, True, path + "/")


def _write(run: "Run", folder: str) -> int:
    """Writes the run's file, where it has numbers; gives how many."""
    begun_at = float(run._record()["created_at"])
    curves = _curves(run, begun_at)
    first = next(curves, None)
    if first is None:
        return 0
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "events.out.tfevents.{:010d}.runyard".format(int(begun_at)))
    unready, count = os.path.join(folder, ".unready"), 0
    try:
        with EventFile(unready, begun_at) as file:
            for curve in itertools.chain([first], curves):
                for step, at, value in zip(curve.steps, curve.times, curve.values):
                    file.scalar(curve.tag, value, step, at)
                count += len(curve.values)
        os.replace(unready, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(unready)
    return count


def _curves(run: "Run", begun_at: float) -> Iterator[Curve]:
    """The run's metrics, as far as they are numbers."""
    run.flush(10)
    path, after = url_path("runs", run.id, "metrics", "summaries"), None
    while True:
        page = run._transport.call("GET", path, query={"after": after, "limit": str(_AT_ONCE)})
        for metric in page["metrics"]:
            if metric["type"] == _SCALAR:
                yield from _logged(run, metric["name"])
            else:
                yield from _within(metric["name"], run.get_metrics(name=metric["name"]).get(metric["name"]), begun_at)
        after = page["next"]
        if after is None:
            return


def _logged(run: "Run", name: str) -> Iterator[Curve]:
    """A metric that was logged number by number."""
    history = url_path("runs", run.id, "metrics", "history")
    said = run._transport.call("GET", history, query={"name": name})
    steps = [place if step is None else step for place, step in enumerate(said["steps"])]
    if steps:  # else it is texts
        yield Curve(name, steps, said["times"], said["values"])


def _within(name: str, value: Any, at: float) -> Iterator[Curve]:
    """The lists and columns of numbers within one."""
    columns = value if isinstance(value, dict) else {"": value}
    for column, cells in columns.items():
        numbers = _numbers(cells)
        if numbers:
            tag = "{}/{}".format(name, column) if column else name
            yield Curve(tag, range(len(numbers)), [at] * len(numbers), numbers)


def _numbers(cells: Any) -> Optional[List[float]]:
    """The cells, if each of them is a number."""
    listed = cells if isinstance(cells, list) else [cells]
    is_so = all(isinstance(cell, (int, float)) and not isinstance(cell, bool) for cell in listed)
    return listed if is_so else None
