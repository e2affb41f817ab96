"""What each node is told, and where the nodes of a gang meet."""

import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runyard.errors import EnvironmentException
from runyard.protocol.compute import ComputeSpec, SlurmSpec
from runyard.protocol.environments import CondaPackage, EnvironmentLock, EnvironmentSpec
from runyard.protocol.jobs import EnvironmentToBuild, JobContainer
from runyard.protocol.runs import DataReferenceSpec, DistributionSpec, RunRecord
from runyard_server.records.environments import put_lock
from runyard_server.services.leases import lease_ports, needs_ports
from runyard_server.testing.clock import FakeClock
from runyard_server.testing.empty_tables import open_empty
from runyard_server.testing.fake_executor import FakeEngine
from runyard_server.testing.run_server import RunServer

TORCH = DistributionSpec(kind="torch", process_count_per_node=2)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunServer]:
    server = RunServer(tmp_path, FakeEngine(), FakeClock(), open_empty(tmp_path / "records.db"))
    server.datastores.ensure_defaults()
    yield server
    server.close()


def run(server: RunServer, **changes: object) -> RunRecord:
    return server.runs.submit(server.spec(**changes), "ann")


def test_each_node_has_a_directory_and_gpus_of_its_own_and_the_same_of_all_else(server: RunServer) -> None:
    asked = run(server, node_count=2, arguments=["--epochs", "2"], distribution=TORCH)
    one, other = server.assignments.build(asked, [[0], [1]], [25_000])
    assert (one.node, one.gpus, other.node, other.gpus) == (0, [0], 1, [1])
    assert one.directory != other.directory and asked.id in one.directory
    assert one.ports == other.ports == [25_000]
    assert one.addresses == other.addresses and len(one.addresses) == 2
    assert one.arguments == ["--epochs", "2"] and one.attempt == asked.attempt
    assert server.tokens.check(one.token).run_id == asked.id


def test_nodes_that_see_each_others_directories_work_in_the_first_ones(server: RunServer) -> None:
    asked = run(server, node_count=2, distribution=TORCH)
    told = server.assignments.build(asked, [[], []], [25_000], share_folder=True)
    assert {given.shared_code for given in told} == {f"{told[0].directory}/code"}
    assert server.assignments.salvage(asked, 1, 1, share_folder=True).shared_code == told[1].shared_code
    assert [given.keeps_folders for given in told] == [True, False]


@pytest.mark.parametrize(("node_count", "share_folder"), [(1, True), (2, False)])
def test_one_node_alone_and_nodes_of_their_own_disks_share_nothing(
    server: RunServer, node_count: int, share_folder: bool
) -> None:
    asked = run(server, node_count=node_count)
    told = server.assignments.build(asked, [[]] * node_count, share_folder=share_folder)
    assert all(given.shared_code is None and given.keeps_folders for given in told)


OWN_DISKS = ComputeSpec("cluster", slurm=SlurmSpec(scratch="/scratch", uv="/opt/uv"))


def test_a_node_that_does_not_see_the_servers_folder_is_told_nothing_of_it(server: RunServer) -> None:
    asked = run(server, data_references=[DataReferenceSpec("here", "workspaceblobstore", "y")])
    built = server.assignments.build(asked, [[]])
    (told,) = server.assignments.on_own_disks(asked, built, OWN_DISKS)
    assert built[0].data[0].local_path is not None and told.data[0].local_path is None
    assert (told.server_file, told.shared_code, told.token) == (None, None, "")
    assert told.build == EnvironmentToBuild(interpreter=sys.executable, uv="/opt/uv") and told.own_disk
    in_an_image = [
        replace(built[0], container=JobContainer("registry/image@sha256:1"), python="/runyard/env/bin/python")
    ]
    (other,) = server.assignments.on_own_disks(asked, in_an_image, OWN_DISKS)
    assert (other.build, other.python) == (None, "/runyard/env/bin/python")


def test_it_is_invited_with_a_ticket_of_its_own_which_a_dry_run_does_not_show(server: RunServer) -> None:
    asked = run(server, node_count=2)
    built = server.assignments.build(asked, [[], []])
    invited = server.assignments.invitations(built, OWN_DISKS)
    identities = [server.tokens.check(each.ticket) for each in invited]
    assert [(each.role, each.run_id, each.node) for each in identities] == [
        ("node", asked.id, 0),
        ("node", asked.id, 1),
    ]
    assert {each.scratch for each in invited} == {"/scratch"}
    dry = server.assignments.invitations(built, OWN_DISKS, with_tickets=False)
    assert {each.ticket for each in dry} == {"TICKET"}
    assert server.assignments.invitations(built, ComputeSpec("cluster", slurm=SlurmSpec())) == []


def test_it_builds_the_environment_of_the_runs_lock_and_none_that_it_cannot(server: RunServer) -> None:
    asked = replace(run(server), environment_key="k" * 40)
    assert asked.spec is not None
    asked = replace(asked, spec=replace(asked.spec, environment=EnvironmentSpec(pip_packages=["colours"])))
    lock = EnvironmentLock("k" * 40, "3.11.7", "colours==1.2", options=["--index-url", "http://mirror"])
    given = server.assignments.sketch(asked)
    with pytest.raises(EnvironmentException, match="is not known here"):
        server.assignments.on_own_disks(asked, given, OWN_DISKS)
    keep(server, lock)
    (told,) = server.assignments.on_own_disks(asked, given, OWN_DISKS)
    assert told.build is not None
    assert (told.build.key, told.build.requirements) == (lock.key, lock.requirements)
    assert (told.build.python_version, told.build.options, told.build.wheels) == ("3.11.7", lock.options, {})
    keep(
        server, replace(lock, key="c" * 40, conda=[CondaPackage("mkl", "1", "0", "defaults", "linux-64", "mkl.conda")])
    )
    with pytest.raises(EnvironmentException, match="conda packages"):
        server.assignments.on_own_disks(replace(asked, environment_key="c" * 40), given, OWN_DISKS)


def keep(server: RunServer, lock: EnvironmentLock) -> None:
    with server.database.write() as connection:
        put_lock(connection, lock.key, lock, 0.0)


def test_an_interpreter_that_is_gone_is_told(server: RunServer, tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    interpreter.symlink_to(sys.executable)
    asked = run(server, environment=EnvironmentSpec(user_managed=True, interpreter=str(interpreter)))
    interpreter.unlink()
    with pytest.raises(EnvironmentException, match="is not here"):
        server.assignments.build(asked, [[]])
    assert server.assignments.salvage(asked, 0, 1).directory  # that one starts nothing


def test_a_salvage_is_told_its_number_what_to_upload_and_no_gpu(server: RunServer) -> None:
    references = [
        DataReferenceSpec("there", "workspaceblobstore", "x", mode="upload", path_on_compute="out"),
        DataReferenceSpec("here", "workspaceblobstore", "y", mode="mount"),
    ]
    asked = run(server, node_count=2, data_references=references)
    told = server.assignments.salvage(asked, 1, 3)
    assert (told.node, told.salvage, told.gpus) == (1, 3, [])
    assert [mount.reference.name for mount in told.data] == ["there"]
    assert told.directory == server.assignments.build(asked, [[], []])[1].directory


def test_only_ranks_that_meet_need_a_port(server: RunServer) -> None:
    assert not needs_ports(run(server)) and lease_ports(run(server), set()) == []
    assert needs_ports(run(server, distribution=TORCH))


def test_a_leased_port_is_free_and_no_other_runs(server: RunServer) -> None:
    gang = run(server, distribution=TORCH)
    taken: set[int] = set()
    for _ in range(50):
        (port,) = lease_ports(gang, taken)
        assert port not in taken
        taken.add(port)
        with socket.socket() as rank:
            rank.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as those do that listen
            rank.bind(("", port))


def test_a_port_on_which_somebody_listens_is_not_leased(server: RunServer, monkeypatch: pytest.MonkeyPatch) -> None:
    gang = run(server, distribution=TORCH)
    with socket.socket() as listener:
        (port,) = lease_ports(gang, set())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", port))
        listener.listen()
        monkeypatch.setattr("random.sample", lambda candidates, count: [port, port + 1, port + 2, port + 3])
        assert lease_ports(gang, set()) != [port]
