"""From the call of submit to the first statement of the script, on an idle node of a real Ray cluster."""

import json
from collections.abc import Callable

from benchmarks.measurement import RUNYARD, Absent, Bench, Measure, Outcome, Target, figures
from benchmarks.own_cluster import NoCluster, own_ray, workspace_on_ray
from benchmarks.own_workspace import this_python
from benchmarks.peers import PROGRAMS
from benchmarks.programs.stopwatch import first_lines

TITLE = "submit → the script's first line, on Ray"
METHOD = (
    "As on this machine, on an idle node of a Ray of one head and two nodes, all on this machine. The floor is "
    "`JobSubmissionClient.submit_job` of Ray's own, for a node with as many processors: `python first_line.py`, of which "
    "Ray keeps what it prints."
)
MEASURES = (Measure("first line", "ms", target=Target(factor=1.5)),)

_SCRIPT = PROGRAMS / "first_line" / "first_line.py"
_FLOOR = "Ray Jobs"


def _repetitions(bench: Bench) -> int:
    return bench.sized(12, 2)


def ours(bench: Bench) -> list[Outcome]:
    from runyard import Experiment, ScriptRunConfig

    try:
        with workspace_on_ray(bench) as yard:
            experiment = Experiment(yard.workspace, "first-line")
            environment = this_python()

            def submit(moment: str) -> Callable[[], object]:
                config = ScriptRunConfig(
                    str(_SCRIPT.parent),
                    script=_SCRIPT.name,
                    arguments=[moment],
                    environment=environment,
                    compute_target="cluster",
                )
                run = experiment.submit(config)
                return lambda: run.wait_for_completion(show_output=False)

            times = first_lines(submit, bench.folder("ours"), _repetitions(bench), bench.sized(1, 0))
    except NoCluster as absence:
        return [Absent(RUNYARD, str(absence))]
    return figures(RUNYARD, times)


def floor(bench: Bench) -> list[Outcome]:
    folder = bench.folder("floor")
    result = folder / "result.json"
    try:
        with own_ray() as cluster:
            program = [str(cluster.programs / "python"), str(PROGRAMS / "submit_ray_cluster.py")]
            arguments = [cluster.url, str(_SCRIPT), str(folder), str(_repetitions(bench)), str(bench.sized(1, 0))]
            cluster.call("env", f"BENCHMARK_RESULT={result}", *program, *arguments)
    except NoCluster as absence:
        return [Absent(_FLOOR, str(absence))]
    return figures(_FLOOR, json.loads(result.read_text()))


def peers(_bench: Bench) -> list[Outcome]:
    return []
