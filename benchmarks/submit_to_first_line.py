"""From the call of submit to the first statement of the script, with the environment ready."""

import subprocess
import sys
from collections.abc import Callable

from benchmarks.measurement import RUNYARD, Bench, Measure, Outcome, Target, figures, measured
from benchmarks.own_workspace import own_workspace, this_python
from benchmarks.peers import PROGRAMS
from benchmarks.programs.stopwatch import first_lines

TITLE = "submit → the script's first line"
METHOD = (
    "From the call of submit in a client that has submitted once before, to the first statement of the script, "
    "which writes the time; a second of rest lies between two. The environment is ready. The floor starts "
    "`python first_line.py` and keeps nothing; TorchX keeps neither code nor state, MLflow Projects keeps a run but not "
    "the code; submitit is given a function, Metaflow a flow of that one step, by `python flow.py run`."
)
MEASURES = (Measure("first line", "ms", target=Target(factor=5)),)

_SCRIPT = PROGRAMS / "first_line" / "first_line.py"


def _repetitions(bench: Bench) -> int:
    return bench.sized(20, 3)


def ours(bench: Bench) -> list[Outcome]:
    from runyard import Experiment, ScriptRunConfig

    with own_workspace(bench) as workspace:
        experiment = Experiment(workspace, "first-line")
        environment = this_python()

        def submit(moment: str) -> Callable[[], object]:
            config = ScriptRunConfig(
                str(_SCRIPT.parent), script=_SCRIPT.name, arguments=[moment], environment=environment
            )
            run = experiment.submit(config)
            return lambda: run.wait_for_completion(show_output=False)

        return figures(RUNYARD, first_lines(submit, bench.folder("ours"), _repetitions(bench), bench.sized(1, 0)))


def floor(bench: Bench) -> list[Outcome]:
    def submit(moment: str) -> Callable[[], object]:
        return subprocess.Popen([sys.executable, str(_SCRIPT), moment]).wait

    return figures(
        "python first_line.py", first_lines(submit, bench.folder("floor"), _repetitions(bench), bench.sized(1, 0))
    )


def peers(bench: Bench) -> list[Outcome]:
    n, few = _repetitions(bench), bench.sized(8, 2)
    flow = PROGRAMS / "first_line_flow.py"
    return [
        *measured(bench, "TorchX local_cwd", "torchx", "submit_torchx.py", _SCRIPT, n),
        *measured(bench, "MLflow Projects", "mlflow", "submit_mlflow.py", _SCRIPT.parent, few),
        *measured(bench, "submitit local", "submitit", "submit_submitit.py", few),
        *measured(bench, "Ray Jobs", "ray", "submit_ray.py", _SCRIPT, few, alone=True),
        *measured(bench, "Metaflow", "metaflow", "submit_metaflow.py", flow, few),
    ]
