"""The examples of distributed training, each submitted by its own ``submit.py`` as a person would.

Only the frameworks themselves show that what their ranks are told is enough for them to train as one.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runyard import Experiment, Run, Workspace
from runyard_server.testing.left_behind import until_gone

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = [pytest.mark.network, pytest.mark.slow]


@pytest.fixture
def submitted(workspace: Workspace, tmp_path: Path) -> Callable[[str], Run]:
    """The run that an example's ``submit.py`` has made, from a folder with a ``config.json``; it has ended well."""

    def submitted(example: str) -> Run:
        workspace.write_config(str(tmp_path))
        command = [sys.executable, str(EXAMPLES / example / "submit.py")]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        (run,) = Experiment(workspace, example.replace("_", "-")).get_runs()
        assert run.get_status() == "Completed", said
        assert f"accuracy {run.get_metrics()['accuracy']:.4f}, model " in said
        return run

    return submitted


def printed(run: Run) -> dict[str, str]:
    """What each rank has printed, by label."""
    found = {}
    for name in run.get_file_names():
        log = re.fullmatch(r"azureml-logs/70_driver_log_(\w+)\.txt", name)
        if log:
            found[log[1]] = run._read_log(name)
    return found


def weights_of_two(run: Run, kind: str, label: str) -> list[str]:
    """The sum of the weights that each of two ranks ended with."""
    said = printed(run)
    assert set(said) == {label + "0", label + "1"}
    found = [re.search(rf"{kind} {rank} of 2: .*sum of weights (\S+)$", said[label + rank], re.M) for rank in "01"]
    assert all(found), said
    return [each[1] for each in found if each]


@pytest.mark.tensorflow
def test_a_chief_trains_through_its_workers_what_lies_on_parameter_servers(submitted: Callable[[str], Run]) -> None:
    run = submitted("parameter_server")
    said = printed(run)
    assert re.findall(r"(\w+) lies on /job:ps/replica:0/task:0", said["chief_0"]) == ["w1", "b1", "w2", "b2"]
    assert said["ps_0"] == "ps 0 serves\n"
    for worker in "01":
        assert said["worker_" + worker] == f"worker {worker} serves\nreads its points\n"
    metrics = run.get_metrics()
    assert metrics["steps"] == 300  # counted on a parameter server, by whichever worker did one
    assert metrics["accuracy"] > 0.95
    assert "outputs/model.npz" in run.get_file_names()
    until_gone(run.id)


@pytest.mark.tensorflow
def test_workers_that_began_apart_end_with_the_same_variables(submitted: Callable[[str], Run]) -> None:
    run = submitted("multi_worker")
    mine, others = weights_of_two(run, "worker", "worker_")
    assert mine == others
    assert run.get_metrics()["accuracy"] > 0.95
    assert "outputs/model/saved_model.pb" in run.get_file_names()


@pytest.mark.tensorflow
@pytest.mark.python37
def test_tensorflow_1s_workers_share_the_steps_that_their_parameter_server_counts(
    submitted: Callable[[str], Run],
) -> None:
    run = submitted("tensorflow_1")
    said = printed(run)
    assert said["ps_0"] == "ps 0 serves\n"
    steps = {}
    for worker in ("0", "1"):
        assert "hidden/kernel lies on /job:ps/task:0" in said["worker_" + worker]
        found = re.search(rf"worker {worker} did (\d+) of (\d+) steps", said["worker_" + worker])
        assert found, said
        steps[worker] = int(found[1])
    assert min(steps.values()) > 0
    assert 600 <= sum(steps.values()) <= 602  # each of the two may have begun one when the last was done
    assert run.get_metrics()["accuracy"] > 0.95
    assert any(name.startswith("outputs/checkpoints/model.ckpt") for name in run.get_file_names())
    until_gone(run.id)


@pytest.mark.tensorflow
def test_horovods_ranks_end_with_the_same_weights(submitted: Callable[[str], Run]) -> None:
    run = submitted("horovod")
    mine, others = weights_of_two(run, "rank", "")
    assert mine == others
    for rank in "01":
        assert f"rank {rank} of 2: 1000 of 2000 points" in printed(run)[rank]
    assert run.get_metrics()["accuracy"] > 0.95
    assert "outputs/model/saved_model.pb" in run.get_file_names()


@pytest.mark.torch
def test_torchs_ranks_end_with_the_same_weights(submitted: Callable[[str], Run]) -> None:
    run = submitted("torch_ddp")
    mine, others = weights_of_two(run, "rank", "")
    assert mine == others
    for rank in "01":
        assert f"rank {rank} of 2: gloo on cpu, 1000 of 2000 points" in printed(run)[rank]
    assert run.get_metrics()["accuracy"] > 0.95
    assert "outputs/model.pt" in run.get_file_names()
