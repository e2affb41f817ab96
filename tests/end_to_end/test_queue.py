"""Waiting for nodes: how many run at once, who is next, and what each of the others waits for."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runyard import AmlCompute, ComputeTarget, PyTorchConfiguration, Run, Workspace

Submit = Callable[..., Run]
Until = Callable[[Run, str], None]


@pytest.fixture
def cluster(workspace: Workspace, request: pytest.FixtureRequest) -> Callable[[int], ComputeTarget]:
    def cluster(max_nodes: int) -> ComputeTarget:
        config = AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", max_nodes=max_nodes)
        return ComputeTarget.create(workspace, f"c{abs(hash(request.node.name)) % 10**8}", config)

    return cluster


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


def behind(gate: Path) -> str:
    """A script that says it runs and goes on when somebody writes to the gate."""
    return f"print('up and running', flush=True)\nopen({str(gate)!r}).read()\n"


def test_runs_of_one_node_wait_for_each_other_and_say_so(
    submit: Submit, until: Until, cluster: Callable[[int], ComputeTarget], gate: Path
) -> None:
    target = cluster(1)
    first = submit(behind(gate), compute_target=target)
    until(first, "up and running")
    second, third = submit("print(2)\n", compute_target=target), submit("print(3)\n", compute_target=target)
    until(third, "Queued")
    assert second.get_status() == "Queued"
    why = second.get_detailed_status()
    assert why["position"] == 1
    assert first.id in why["details"]
    why = third.get_detailed_status()
    assert why["position"] == 2
    assert f"1 run ahead: {second.id}" in why["details"]
    status = target.get_status().serialize()
    assert status["nodeStateCounts"]["runningNodeCount"] == 1
    gate.write_text("go")
    third.wait_for_completion()
    started = [run.get_details()["startTimeUtc"] for run in (first, second, third)]
    assert started == sorted(started)


def test_a_higher_priority_goes_first(
    submit: Submit, until: Until, cluster: Callable[[int], ComputeTarget], gate: Path, this_python: object
) -> None:
    from runyard import RunConfiguration

    target = cluster(1)
    first = submit(behind(gate), compute_target=target)
    until(first, "up and running")
    later = submit("print(2)\n", compute_target=target)
    urgent_config = RunConfiguration()
    urgent_config.environment = this_python
    urgent_config.priority = 10
    urgent_config.target = target
    urgent = submit("print(3)\n", run_config=urgent_config, environment=None)
    until(later, "Queued")
    until(urgent, "Queued")
    assert urgent.get_detailed_status()["position"] == 1
    gate.write_text("go")
    later.wait_for_completion()
    assert urgent.get_details()["startTimeUtc"] < later.get_details()["startTimeUtc"]


def test_a_queued_run_can_be_cancelled(
    submit: Submit, until: Until, cluster: Callable[[int], ComputeTarget], gate: Path
) -> None:
    target = cluster(1)
    first = submit(behind(gate), compute_target=target)
    until(first, "up and running")
    second = submit("print(2)\n", compute_target=target)
    until(second, "Queued")
    second.cancel()
    second.wait_for_completion()
    assert second.get_status() == "Canceled"
    assert "startTimeUtc" not in second.get_details()
    gate.write_text("go")
    first.wait_for_completion()


def test_a_gang_gets_all_its_nodes_at_once_and_its_ranks_know_each_other(
    submit: Submit, until: Until, cluster: Callable[[int], ComputeTarget], gate: Path
) -> None:
    target = cluster(2)
    first = submit(behind(gate), compute_target=target)
    until(first, "up and running")
    gang = submit(
        "import os\nfrom runyard import Run\n"
        "print(os.environ['RANK'], 'of', os.environ['WORLD_SIZE'], 'on node', os.environ['NODE_RANK'])\n"
        "Run.get_context().log('rank', int(os.environ['RANK']))\n"
        "open('outputs/from-' + os.environ['RANK'], 'w').write('x')\n",
        compute_target=target,
        distributed_job_config=PyTorchConfiguration("Gloo", process_count=4, node_count=2),
    )
    until(gang, "Queued")
    assert "waits for 1 of 2 nodes" in gang.get_detailed_status()["details"]
    gate.write_text("go")
    gang.wait_for_completion()
    said = "".join(gang._read_log(f"azureml-logs/70_driver_log_{rank}.txt") for rank in range(4))
    assert said == "0 of 4 on node 0\n1 of 4 on node 0\n2 of 4 on node 1\n3 of 4 on node 1\n"
    assert sorted(gang.get_metrics()["rank"]) == [0, 1, 2, 3]
    assert {f"outputs/from-{rank}" for rank in range(4)} <= set(gang.get_file_names())


def test_one_failing_rank_ends_the_gang_and_is_named(submit: Submit, cluster: Callable[[int], ComputeTarget]) -> None:
    gang = submit(
        "import os, signal\nif os.environ['RANK'] == '1':\n    raise SystemExit(7)\nsignal.pause()\n",
        compute_target=cluster(2),
        distributed_job_config=PyTorchConfiguration("Gloo", process_count=2, node_count=2),
    )
    gang.wait_for_completion(raise_on_error=False)
    assert gang.get_status() == "Failed"
    (cause,) = gang.get_details()["error"]["error"]["details"]
    assert (cause["rank"], cause["exit_code"]) == (1, 7)


def test_gpus_that_are_not_here_are_warned_of_once_and_the_run_goes_on(submit: Submit, workspace: Workspace) -> None:
    config = AmlCompute.provisioning_configuration(vm_size="STANDARD_NC6", max_nodes=1)
    target = ComputeTarget.create(workspace, "with-gpu", config)
    run = submit("import os\nprint(repr(os.environ['CUDA_VISIBLE_DEVICES']))\n", compute_target=target)
    run.wait_for_completion()
    if run._read_log("azureml-logs/70_driver_log.txt") == "''\n":
        (warning,) = run.get_details()["warnings"]
        assert warning["message"] == "The run asks for 1 GPU, this host has no GPU: it runs without GPU."
