"""Compute targets: made, changed, deleted, and what they are said to do, on both databases."""

import json
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from runyard.errors import ComputeTargetException, UnknownComputeError
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.compute import ComputeChanges, ComputeNode, ComputeRecord, ComputeSpec
from runyard.protocol.runs import RunRecord, RunSpec
from runyard.protocol.status import Reason, RunStatus
from runyard_server.domain.placement import Target
from runyard_server.records import experiments, runs
from runyard_server.records.engine import Database
from runyard_server.services.computes import ComputeService
from runyard_server.testing.clock import FakeClock

NC6 = ComputeSpec("gpucluster", vm_size="STANDARD_NC6", max_nodes=4)


class Host:
    """A server's compute service on a host with a settable number of GPUs."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = FakeClock()
        self.gpus = 0
        self.looks = 0
        self.computes = ComputeService(
            database, self.clock, ["local", "slurm"], lambda: self.gpus, cpus=8, changed=self._look
        )

    def _look(self) -> None:
        self.looks += 1

    def run(
        self, name: str, target: str, gpus: Sequence[Sequence[int]] | None = None, interactive: bool = False
    ) -> str:
        """A run that waits, or holds a node for each entry of ``gpus``."""
        now = self.clock.now()
        with self.database.write() as connection:
            experiment = experiments.get_or_create(connection, "exp", now)
            number = experiments.next_number(connection, experiment.id)
            spec = RunSpec(experiment="exp", snapshot="0" * 64, target=target)
            record = RunRecord(name, number, "exp", "script", RunStatus.NOT_STARTED, now, 1, target=target, spec=spec)
            runs.add(connection, record, experiment.id)
            runs.move(connection, name, RunStatus.STARTING, Reason.ACCEPTED, now)
            if gpus is not None:
                runs.add_jobs(connection, name, 1, gpus)
                handle = {"client": {"pid": 1}} if interactive else {"job": {"executor": "local", "job_id": "1"}}
                runs.set_handles(connection, name, 1, [handle] * len(gpus), now)
        self.clock.advance(1)
        return name

    def end(self, name: str) -> None:
        with self.database.write() as connection:
            runs.move(connection, name, RunStatus.FAILED, Reason.SCRIPT_FAILED, self.clock.now())


@pytest.fixture
def host(database: Database) -> Host:
    return Host(database)


def test_local_is_always_there_with_a_node_for_each_cpu(host: Host) -> None:
    (record,) = host.computes.list()
    assert record == host.computes.get("local")
    assert (record.spec.name, record.spec.max_nodes, record.executor) == ("local", 8, "local")
    assert (record.spec.type, record.provisioning_state, record.gpus_per_node) == ("Local", "Succeeded", 0)


def test_a_target_is_made_as_it_was_asked_for(host: Host) -> None:
    made = host.computes.create(replace(NC6, vm_size="Standard_NC6", tags={"a": "b"}, description="ours"))
    assert made.spec == replace(NC6, tags={"a": "b"}, description="ours")
    assert (made.executor, made.provisioning_state, made.gpus_per_node) == ("local", "Succeeded", 1)
    assert (made.created_at, made.modified_at, made.state_changed_at) == (host.clock.now(),) * 3
    assert (made.nodes_running, made.nodes_idle, made.nodes_ready) == (0, 0, 4)
    assert host.computes.get("gpucluster") == made
    assert [record.spec.name for record in host.computes.list()] == ["local", "gpucluster"]


def test_a_record_goes_over_the_wire_and_back(host: Host) -> None:
    made = host.computes.create(NC6)
    assert from_json(ComputeRecord, json.loads(json.dumps(to_json(made)))) == made


def test_the_same_target_made_again_is_the_present_one(host: Host) -> None:
    made = host.computes.create(NC6)
    host.clock.advance(60)
    assert host.computes.create(NC6) == made


def test_made_again_with_other_sizes_it_takes_them(host: Host) -> None:
    made = host.computes.create(NC6)
    host.clock.advance(60)
    again = host.computes.create(replace(NC6, min_nodes=1, max_nodes=9))
    assert (again.spec.min_nodes, again.spec.max_nodes) == (1, 9)
    assert (again.created_at, again.modified_at) == (made.created_at, made.created_at + 60)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"vm_size": "STANDARD_NC12"}, "vm_size 'STANDARD_NC6', not 'STANDARD_NC12'"),
        ({"vm_priority": "lowpriority"}, "vm_priority 'dedicated', not 'lowpriority'"),
        ({"executor": "slurm"}, "executor 'local', not 'slurm'"),
        ({"strict": True}, "strict False, not True"),
    ],
)
def test_nodes_of_another_kind_need_another_target(host: Host, change: dict[str, object], text: str) -> None:
    host.computes.create(NC6)
    with pytest.raises(ComputeTargetException) as failure:
        host.computes.create(replace(NC6, max_nodes=7, **change))  # type: ignore[arg-type]
    assert text in str(failure.value)
    assert "delete it first" in str(failure.value)
    assert host.computes.get("gpucluster").spec == NC6


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": "x"}, "gpucluster"),
        ({"name": "../etc"}, "gpucluster"),
        ({"name": "local"}, "always there"),
        ({"name": "Local"}, "always there"),
        ({"vm_size": "STANDARD_NC5"}, "There is no vm_size 'STANDARD_NC5'"),
        ({"vm_priority": "spot"}, "dedicated, lowpriority"),
        ({"executor": "kubernetes"}, "This server has: local, slurm"),
        ({"max_nodes": 0}, "max_nodes is 1 or more"),
        ({"min_nodes": -1}, "min_nodes lies between 0 and max_nodes"),
        ({"min_nodes": 5}, "min_nodes lies between 0 and max_nodes"),
        ({"idle_seconds_before_scaledown": -1}, "0 or more seconds"),
    ],
)
def test_an_impossible_target_is_refused_with_what_is_allowed(host: Host, change: dict[str, object], text: str) -> None:
    with pytest.raises(ComputeTargetException) as failure:
        host.computes.create(replace(NC6, **change))  # type: ignore[arg-type]
    assert text in str(failure.value)
    assert [record.spec.name for record in host.computes.list()] == ["local"]


def test_a_target_that_is_not_there_is_answered_with_those_that_are(host: Host) -> None:
    host.computes.create(NC6)
    with pytest.raises(UnknownComputeError) as failure:
        host.computes.get("gpu-clster")
    assert "'gpu-clster'" in str(failure.value)
    assert "local, gpucluster" in str(failure.value)


def test_its_size_can_be_changed(host: Host) -> None:
    host.computes.create(NC6)
    host.clock.advance(5)
    changed = host.computes.update("gpucluster", ComputeChanges(max_nodes=2, idle_seconds_before_scaledown=60))
    assert changed.spec == replace(NC6, max_nodes=2, idle_seconds_before_scaledown=60)
    assert changed.modified_at == host.clock.now()
    assert host.computes.update("gpucluster", ComputeChanges(min_nodes=0, max_nodes=None)).spec.max_nodes == 2


def test_a_size_that_does_not_fit_changes_nothing(host: Host) -> None:
    host.computes.create(NC6)
    with pytest.raises(ComputeTargetException):
        host.computes.update("gpucluster", ComputeChanges(min_nodes=5))
    assert host.computes.get("gpucluster").spec == NC6


def test_local_can_be_neither_changed_nor_deleted(host: Host) -> None:
    with pytest.raises(ComputeTargetException, match="cannot be changed"):
        host.computes.update("local", ComputeChanges(max_nodes=1))
    with pytest.raises(ComputeTargetException, match="cannot be deleted"):
        host.computes.delete("local")


def test_room_that_was_made_is_told_to_the_queue(host: Host) -> None:
    host.computes.create(NC6)
    host.computes.update("gpucluster", ComputeChanges(max_nodes=9))
    assert host.looks == 2


def test_nodes_of_running_runs_are_counted(host: Host) -> None:
    host.computes.create(replace(NC6, min_nodes=3))
    host.run("a", "gpucluster", [[0], [1]])
    host.run("b", "local", [[]])
    host.run("waiting", "gpucluster")
    host.end(host.run("over", "gpucluster", [[2]]))
    cluster, local = host.computes.get("gpucluster"), host.computes.get("local")
    assert (cluster.nodes_running, cluster.nodes_idle) == (2, 1)
    assert (local.nodes_running, local.nodes_idle) == (1, 0)


def test_an_earlier_attempts_nodes_are_not_counted(host: Host) -> None:
    host.computes.create(NC6)
    host.run("a", "gpucluster", [[], []])
    with host.database.write() as connection:
        runs.change(connection, "a", attempt=2)
    assert host.computes.get("gpucluster").nodes_running == 0


def test_an_interactive_run_holds_no_node(host: Host) -> None:
    host.run("a", "local", [[]], interactive=True)
    assert host.computes.get("local").nodes_running == 0
    assert host.computes.nodes("local") == []


def test_the_nodes_in_use_name_their_runs_and_gpus(host: Host) -> None:
    host.computes.create(NC6)
    host.run("a", "gpucluster", [[0], [1]])
    host.run("b", "gpucluster", [[2]])
    assert host.computes.nodes("gpucluster") == [
        ComputeNode("gpucluster-0", "running", "a", [0]),
        ComputeNode("gpucluster-1", "running", "a", [1]),
        ComputeNode("gpucluster-2", "running", "b", [2]),
    ]


def test_a_target_in_use_is_not_deleted(host: Host) -> None:
    host.computes.create(NC6)
    for number in range(7):
        host.run(f"r{number}", "gpucluster")
    with pytest.raises(ComputeTargetException) as failure:
        host.computes.delete("gpucluster")
    assert "used by 7 unfinished run(s): r0, r1, r2, r3, r4 and 2 more" in str(failure.value)
    for number in range(7):
        host.end(f"r{number}")
    host.computes.delete("gpucluster")
    with pytest.raises(UnknownComputeError):
        host.computes.delete("gpucluster")


def test_a_deleted_targets_name_can_be_given_again(host: Host) -> None:
    host.computes.create(NC6)
    host.computes.delete("gpucluster")
    assert host.computes.create(replace(NC6, vm_size="")).gpus_per_node == 0


@pytest.mark.parametrize(
    ("size", "here", "strict", "warnings"),
    [
        ("STANDARD_NC6", 1, False, []),
        ("STANDARD_D2_V2", 0, True, []),
        ("", 0, False, []),
        ("STANDARD_NC6", 0, False, ["STANDARD_NC6 has 1 GPU(s), this host has no GPU: runs go with what is here"]),
        ("STANDARD_NC24", 2, True, ["STANDARD_NC24 has 4 GPU(s), this host has only 2: a run that asks"]),
    ],
)
def test_missing_gpus_are_told_at_once(host: Host, size: str, here: int, strict: bool, warnings: list[str]) -> None:
    host.gpus = here
    made = host.computes.create(replace(NC6, vm_size=size, strict=strict))
    assert len(made.warnings) == len(warnings)
    assert all(text in warning for text, warning in zip(warnings, made.warnings, strict=True))


def test_another_executors_nodes_are_not_this_hosts(host: Host) -> None:
    made = host.computes.create(replace(NC6, executor="slurm", min_nodes=1))
    assert (made.executor, made.warnings, made.nodes_ready) == ("slurm", [], 1)
    assert host.computes.room("gpucluster") == (Target("gpucluster", 4, uses_host_gpus=False, gpus_per_node=1), "slurm")


def test_placement_is_told_a_targets_room(host: Host) -> None:
    host.computes.create(NC6)
    assert host.computes.room("gpucluster") == (Target("gpucluster", 4, gpus_per_node=1), "local")
    assert host.computes.room("local") == (Target("local", 8), "local")
    assert host.computes.room("gone") is None


def test_two_who_make_the_same_target_at_once_both_get_it(host: Host) -> None:
    made: list[ComputeRecord] = []
    start = threading.Barrier(4)

    def make() -> None:
        start.wait()
        made.append(host.computes.create(NC6))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert all(record == made[0] for record in made)


def test_every_size_is_listed(host: Host) -> None:
    sizes = {size.name: size for size in host.computes.sizes()}
    assert (sizes["STANDARD_NC6"].cpus, sizes["STANDARD_NC6"].gpus) == (6, 1)
