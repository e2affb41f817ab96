"""From the call of submit to the first statement of the script, on an idle node of a real Slurm."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measurement import RUNYARD, Absent, Bench, Measure, Outcome, Target, figures
from benchmarks.own_cluster import NoCluster, own_slurm, workspace_on_slurm
from benchmarks.own_workspace import this_python
from benchmarks.peers import PROGRAMS
from benchmarks.programs.stopwatch import first_lines

TITLE = "submit → the script's first line, on Slurm"
METHOD = (
    "As on this machine, on an idle node of a Slurm of one controller and two nodes, all of it on this machine: once "
    "with the pause before batch jobs that Slurm has where nothing is said (`batch_sched_delay`, three seconds), which "
    "is the promise; once without it, which shows more of what is ours: also then Slurm looks for jobs to start once a "
    "second, and is met at any moment of that second. The floor is `sbatch` of a batch script that starts "
    "`python first_line.py` with as many processors, and keeps nothing."
)
MEASURES = (
    Measure("first line", "ms", target=Target(factor=1.5)),
    Measure("without that pause", "ms"),
)

_SCRIPT = PROGRAMS / "first_line" / "first_line.py"
_FLOOR = "sbatch"
_PAUSE_S = 3
# As Slurm is where nothing is said, and as the clusters of the tests are.
_PAUSES = {"first line": "SchedulerParameters=batch_sched_delay=3", "without that pause": ""}
_Submit = Callable[[str], Callable[[], object]]


def ours(bench: Bench) -> list[Outcome]:
    from runyard import Experiment, ScriptRunConfig

    times = {}
    try:
        for measure, more in _PAUSES.items():
            with workspace_on_slurm(bench, more=more) as yard:
                experiment = Experiment(yard.workspace, "first-line")

                def submit(moment: str, experiment: Experiment = experiment) -> Callable[[], object]:
                    config = ScriptRunConfig(
                        str(_SCRIPT.parent),
                        script=_SCRIPT.name,
                        arguments=[moment],
                        environment=this_python(),
                        compute_target="cluster",
                    )
                    run = experiment.submit(config)
                    return lambda: run.wait_for_completion(show_output=False)

                times[measure] = _times(bench, submit)
    except NoCluster as absence:
        return [Absent(RUNYARD, str(absence))]
    return figures(RUNYARD, times)


def floor(bench: Bench) -> list[Outcome]:
    def submit(moment: str) -> Callable[[], object]:
        number = sbatch(bare_script([sys.executable, str(_SCRIPT), moment]))
        return lambda: wait_for(number)

    times = {}
    try:
        for measure, more in _PAUSES.items():
            with own_slurm(more=more):
                times[measure] = _times(bench, submit)
    except NoCluster as absence:
        return [Absent(_FLOOR, str(absence))]
    return figures(_FLOOR, times)


def _times(bench: Bench, submit: _Submit) -> list[float]:
    folder = bench.folder("moments")
    return first_lines(submit, folder, bench.sized(20, 1), bench.sized(1, 0), bench.sized(_PAUSE_S, 0))["first line"]


def peers(_bench: Bench) -> list[Outcome]:
    return []


def bare_script(command: Sequence[str]) -> str:
    """A batch script that does nothing but start a program, with what a run of ours gets of a node."""
    lines = ["#!/bin/sh", "#SBATCH --cpus-per-task=2", "#SBATCH --output=/dev/null", f"exec {' '.join(command)}"]
    return "\n".join(lines) + "\n"


def sbatch(script: str) -> str:
    """Submits a batch script by hand; the job's number."""
    done = subprocess.run(["sbatch", "--parsable"], input=script, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def wait_for(number: str) -> None:
    """Returns when a job is over."""
    asked = ["squeue", "--noheader", "--jobs", number, "--states=all", "--format=%T"]
    while "COMPLETED" not in (said := subprocess.run(asked, capture_output=True, text=True, check=True).stdout):
        if "FAILED" in said or "CANCELLED" in said:
            raise RuntimeError(f"Slurm's job {number} is {said.strip()}")
        time.sleep(0.05)


def moment_of(path: Path) -> float:
    """The time that a script has written to a file of its own; waits for it."""
    while not path.exists() or not path.read_text():
        time.sleep(0.02)
    return float(path.read_text())
