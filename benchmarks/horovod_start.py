"""What a run adds to the start of Horovod's ranks on two nodes of a real Slurm: from the nodes to the first step."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measurement import RUNYARD, Absent, Bench, Measure, Outcome, figures
from benchmarks.own_cluster import NoCluster, workspace_on_slurm
from benchmarks.peers import PROGRAMS
from benchmarks.slurm_first_line import moment_of, sbatch, wait_for

if TYPE_CHECKING:
    from runyard import TensorFlow, Workspace

TITLE = "the nodes are there → Horovod's first training step, on two nodes of Slurm"
METHOD = (
    "Two ranks on two nodes, TensorFlow 2.15 with Horovod. From the first line of the batch script, which Slurm starts "
    "when both nodes are the job's, to the end of the first training step of the rank that came last. Ours starts the "
    "job on each node, fetches the code there, and hands MPICH's launch lines from node to node. The floor is "
    "`mpiexec -n 2 -ppn 1` of the same MPICH in the same environment, in a batch script of its own, which asks Slurm "
    "itself (`srun`) for the other node and keeps nothing."
)
MEASURES = (Measure("first step", "s"),)

_SCRIPT = PROGRAMS / "first_step" / "first_step.py"
_FLOOR = "mpiexec of MPICH"
_NODES = 2


def _repetitions(bench: Bench) -> int:
    return bench.sized(8, 1)


def ours(bench: Bench) -> list[Outcome]:
    from runyard import ComputeTarget, Experiment, SlurmCompute

    folder = bench.folder("ours")
    try:
        with workspace_on_slurm(bench, _NODES, _build) as yard:
            asked = SlurmCompute.provisioning_configuration(
                partition="main", cpus_per_node=2, setup=[_says_when(folder / "began")]
            )
            ComputeTarget.create(yard.workspace, "timed", asked)
            experiment = Experiment(yard.workspace, "horovod")

            def start(moment: Path) -> None:
                experiment.submit(_run(moment)).wait_for_completion(show_output=False)

            times = _times(folder, start, _repetitions(bench))
    except NoCluster as absence:
        return [Absent(RUNYARD, str(absence))]
    return figures(RUNYARD, {"first step": times})


def floor(bench: Bench) -> list[Outcome]:
    folder = bench.folder("floor")
    try:
        with workspace_on_slurm(bench, _NODES, _build) as yard:
            (built,) = yard.workspace.transport.call("GET", "/environment-cache")["environments"]
            (programs,) = Path(built["directory"]).glob("*/venv/bin")

            def start(moment: Path) -> None:
                lines = ["#!/bin/sh", f"#SBATCH --nodes={_NODES} --ntasks-per-node=1 --cpus-per-task=2"]
                lines += [f"#SBATCH --output={folder}/log", _says_when(folder / "began")]
                lines += [f"exec {programs}/mpiexec -n {_NODES} -ppn 1 {programs}/python {_SCRIPT} --moment {moment}"]
                wait_for(sbatch("\n".join(lines) + "\n"))

            times = _times(folder, start, _repetitions(bench))
    except NoCluster as absence:
        return [Absent(_FLOOR, str(absence))]
    return figures(_FLOOR, {"first step": times})


def peers(_bench: Bench) -> list[Outcome]:
    return []


def _run(moment: Path) -> "TensorFlow":
    from runyard import TensorFlow
    from runyard.runconfig import MpiConfiguration

    return TensorFlow(
        source_directory=str(_SCRIPT.parent),
        entry_script=_SCRIPT.name,
        script_params={"--moment": str(moment)},
        framework_version="2.15",
        compute_target="timed",
        node_count=_NODES,
        distributed_training=MpiConfiguration(process_count_per_node=1),
    )


def _build(workspace: "Workspace") -> None:
    """Builds the environment of the runs: from inside a cluster's network no package can be fetched."""
    from runyard import run_spec
    from runyard.environment_build import ImageBuildDetails
    from runyard.protocol.codec import to_json

    asked = replace(run_spec.build(_run(Path("moment")), "horovod").environment, mpi=True)
    build = workspace.transport.call("POST", "/environment-builds", json=to_json(asked))
    ImageBuildDetails(workspace, build).wait_for_completion(show_output=False, raise_on_error=True)


def _says_when(path: Path) -> str:
    """A line of shell that writes the time into a file."""
    return f"date +%s.%N >{path}"


def _times(folder: Path, start: Callable[[Path], None], repetitions: int) -> list[float]:
    """Seconds from when a job has its nodes to its first step; the first time, which warms the disk up, is not counted."""
    samples = []
    for number in range(repetitions + 1):
        moment = folder / f"moment-{number}"
        start(moment)
        samples.append(moment_of(moment) - float((folder / "began").read_text()))
    return samples[1:]
