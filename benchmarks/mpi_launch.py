"""What a run adds to the start of MPI's ranks: from submit to the first statement of the last one."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.measurement import RUNYARD, Bench, Measure, Outcome, figures, measured
from benchmarks.own_workspace import own_workspace
from benchmarks.peers import PROGRAMS, REQUIREMENTS
from benchmarks.programs.stopwatch import first_lines

TITLE = "submit → the first line of the last of two MPI ranks"
METHOD = (
    "From the call of submit in a client that has submitted once before, to the first statement of the script in the "
    "rank that came last (the ranks tell each other through MPI); a second of rest lies between two. The environment is "
    "ready: mpi4py and MPICH, the same for both. mpiexec is `mpiexec -n 2 python meet.py`, which keeps nothing. The "
    "floor starts `python first_line.py` twice, without MPI."
)
MEASURES = (Measure("first line", "ms"),)

_RANKS = 2
_SCRIPT = PROGRAMS / "meet" / "meet.py"
_ALONE = PROGRAMS / "first_line" / "first_line.py"


def _repetitions(bench: Bench) -> int:
    return bench.sized(20, 3)


def _rest_s(bench: Bench) -> float:
    return bench.sized(1, 0)


def ours(bench: Bench) -> list[Outcome]:
    from runyard import Environment, Experiment, ScriptRunConfig
    from runyard.runconfig import MpiConfiguration

    environment = Environment("mpi")
    for package in REQUIREMENTS["mpich"]:
        environment.python.conda_dependencies.add_pip_package(package)
    with own_workspace(bench) as workspace:
        experiment = Experiment(workspace, "meet")

        def submit(moment: str) -> Callable[[], object]:
            config = ScriptRunConfig(
                str(_SCRIPT.parent),
                script=_SCRIPT.name,
                arguments=[moment],
                environment=environment,
                distributed_job_config=MpiConfiguration(process_count_per_node=_RANKS),
            )
            run = experiment.submit(config)
            return lambda: run.wait_for_completion(show_output=False)

        return figures(RUNYARD, first_lines(submit, bench.folder("ours"), _repetitions(bench), _rest_s(bench)))


def floor(bench: Bench) -> list[Outcome]:
    def submit(moment: str) -> Callable[[], object]:
        own = [Path(f"{moment}-{rank}") for rank in range(_RANKS)]
        started = [subprocess.Popen([sys.executable, str(_ALONE), str(path)]) for path in own]

        def wait() -> None:
            for process in started:
                process.wait()
            Path(moment).write_text(repr(max(float(path.read_text()) for path in own)))

        return wait

    times = first_lines(submit, bench.folder("floor"), _repetitions(bench), _rest_s(bench))
    return figures("python first_line.py, twice", times)


def peers(bench: Bench) -> list[Outcome]:
    arguments = (_SCRIPT, _RANKS, _repetitions(bench), _rest_s(bench))
    return measured(bench, "mpiexec of MPICH", "mpich", "launch_mpiexec.py", *arguments)
