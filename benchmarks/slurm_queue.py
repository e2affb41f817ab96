"""Five hundred runs that wait for one node of a real Slurm: what Slurm is asked meanwhile, and how the node changes hands."""

import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measurement import RUNYARD, Absent, Bench, Measure, Outcome, Target, figures
from benchmarks.own_cluster import NoCluster, own_slurm, workspace_on_slurm
from benchmarks.own_workspace import this_python
from benchmarks.peers import PROGRAMS
from benchmarks.slurm_first_line import bare_script, moment_of, sbatch

TITLE = "500 runs queued on Slurm"
METHOD = (
    "A target of one node, which a run holds; 500 runs of `first_line.py` are submitted behind it. Then all commands "
    "are counted by which the server asks Slurm (`squeue`, `sbatch`, `scancel`, `sinfo`, `sacct`) while they "
    "wait. When the first run lets go, the node goes from run to run: a turn is the time between the first lines of two "
    "that follow each other, so what runyard adds to a run of a full queue is the difference to the floor's. That is the "
    "same scripts, handed over by `sbatch` all at once, of which nothing is kept."
)
MEASURES = (
    Measure("calls of Slurm", "per s", target=Target(bound=2)),
    Measure("turn", "ms"),
)

_ASKING = ("squeue", "sbatch", "scancel", "sinfo", "sacct")
_FLOOR = "sbatch"
_FIRST = PROGRAMS / "first_line" / "first_line.py"
_HOLDS = PROGRAMS / "wait_for_file" / "wait_for_file.py"


def _runs(bench: Bench) -> int:
    return bench.sized(500, 8)


def _turns(bench: Bench) -> int:
    return bench.sized(20, 4)


def ours(bench: Bench) -> list[Outcome]:
    from runyard import Experiment, ScriptRunConfig

    folder = bench.folder("ours")
    try:
        with _counted_calls(folder) as calls, workspace_on_slurm(bench, nodes=1) as yard:
            experiment = Experiment(yard.workspace, "queue")

            def submit(script: Path, argument: Path) -> object:
                return experiment.submit(
                    ScriptRunConfig(
                        str(script.parent),
                        script=script.name,
                        arguments=[str(argument)],
                        compute_target="cluster",
                        environment=this_python(),
                    )
                )

            holder = submit(_HOLDS, folder / "go")
            yard.until(lambda: holder.get_status() == "Running", "the run that holds the node")  # type: ignore[attr-defined]
            moments = [folder / f"moment-{number}" for number in range(_runs(bench))]
            last = [submit(_FIRST, moment) for moment in moments][-1]
            yard.until(lambda: last.get_status() == "Queued", "the last run in the queue")  # type: ignore[attr-defined]
            time.sleep(bench.sized(5, 1))  # until as many are with Slurm as may be
            window_s = bench.sized(20, 3)
            before = calls.stat().st_size
            time.sleep(window_s)
            rate = (calls.stat().st_size - before) / window_s
            (folder / "go").touch()
            turns = _turns_of(moments, _turns(bench))
    except NoCluster as absence:
        return [Absent(RUNYARD, str(absence))]
    return figures(RUNYARD, {"calls of Slurm": [rate], "turn": turns})


def floor(bench: Bench) -> list[Outcome]:
    folder = bench.folder("floor")
    try:
        with own_slurm(nodes=1):
            sbatch(bare_script([sys.executable, str(_HOLDS), str(folder / "go")]))
            moments = [folder / f"moment-{number}" for number in range(_runs(bench))]
            for moment in moments:
                sbatch(bare_script([sys.executable, str(_FIRST), str(moment)]))
            (folder / "go").touch()
            turns = _turns_of(moments, _turns(bench))
    except NoCluster as absence:
        return [Absent(_FLOOR, str(absence))]
    return figures(_FLOOR, {"turn": turns})


def peers(_bench: Bench) -> list[Outcome]:
    return []


def _turns_of(moments: Sequence[Path], count: int) -> list[float]:
    """Milliseconds between the first lines of runs that follow each other; they come in the order of submission."""
    found = sorted(moment_of(moment) for moment in moments[: count + 1])
    return [(after - before) * 1000 for before, after in zip(found, found[1:], strict=False)]


@contextmanager
def _counted_calls(folder: Path) -> Iterator[Path]:
    """A file that grows by a byte whenever a command is called that asks Slurm's controller.

    `scontrol` is not among them: jobs call it too, to read a list of nodes, for which nobody is asked.
    """
    programs, calls = folder / "counted", folder / "calls"
    programs.mkdir()
    calls.touch()
    before = os.environ["PATH"]
    for name in _ASKING:
        real = shutil.which(name, path=f"{before}:/usr/sbin:/sbin")
        if real is not None:
            (programs / name).write_text(f'#!/bin/sh\nprintf . >>{calls}\nexec {real} "$@"\n')
            (programs / name).chmod(0o755)
    os.environ["PATH"] = f"{programs}{os.pathsep}{before}"
    try:
        yield calls
    finally:
        os.environ["PATH"] = before
