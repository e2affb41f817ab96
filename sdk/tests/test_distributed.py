"""From a topology to each rank's environment and command: pure arithmetic."""

import json

import pytest

from runyard.distributed import mpi
from runyard.distributed.topology import (
    note_of_defaults,
    port_count,
    rank_defaults,
    rank_environment,
    ranks,
    ranks_of_node,
)
from runyard.protocol.jobs import JobAssignment
from runyard.protocol.runs import DistributionSpec


def assignment(distribution, node=0, node_count=1, addresses=None, ports=()):
    return JobAssignment(
        run_id="r",
        attempt=1,
        experiment="e",
        node=node,
        node_count=node_count,
        directory="/d",
        server_url="http://localhost",
        token="t",
        snapshot="s",
        python="/env/bin/python",
        sdk_path="/sdk",
        distribution=distribution,
        addresses=addresses or ["host{}".format(number) for number in range(node_count)],
        ports=list(ports),
    )


def test_ranks_are_consecutive_node_after_node():
    found = ranks(DistributionSpec("mpi", process_count_per_node=2), 3)
    assert [(rank.number, rank.node, rank.local) for rank in found] == [
        (0, 0, 0),
        (1, 0, 1),
        (2, 1, 0),
        (3, 1, 1),
        (4, 2, 0),
        (5, 2, 1),
    ]
    assert [rank.label for rank in found] == ["0", "1", "2", "3", "4", "5"]


def test_workers_and_parameter_servers_are_dealt_out_to_the_nodes_in_turn():
    found = ranks(DistributionSpec("tensorflow", worker_count=3, parameter_server_count=2), 2)
    assert [(rank.number, rank.label, rank.node, rank.local) for rank in found] == [
        (0, "worker_0", 0, 0),
        (1, "worker_1", 1, 0),
        (2, "worker_2", 0, 1),
        (3, "ps_0", 0, 2),
        (4, "ps_1", 1, 1),
    ]
    assert [rank.label for rank in found if rank.serves] == ["ps_0", "ps_1"]


def test_a_chief_comes_first_and_its_workers_serve_it_as_parameter_servers_do():
    distribution = DistributionSpec("tensorflow", worker_count=2, parameter_server_count=1, chief=True)
    found = ranks(distribution, 2)
    assert [(rank.number, rank.label, rank.node, rank.local) for rank in found] == [
        (0, "chief_0", 0, 0),
        (1, "worker_0", 0, 1),
        (2, "worker_1", 1, 0),
        (3, "ps_0", 0, 2),
    ]
    assert [rank.label for rank in found if rank.serves] == ["worker_0", "worker_1", "ps_0"]
    assert port_count(distribution) == 4
    own = assignment(distribution, node_count=2, ports=[1, 2, 3, 4])
    config = json.loads(rank_environment(own, ranks_of_node(own)[0])["TF_CONFIG"])
    assert config["cluster"] == {"chief": ["host0:1"], "worker": ["host0:2", "host1:3"], "ps": ["host0:4"]}
    assert config["task"] == {"type": "chief", "index": 0}


def test_a_node_may_be_left_without_a_task():
    distribution = DistributionSpec("tensorflow", worker_count=1, parameter_server_count=1)
    assert ranks_of_node(assignment(distribution, node=1, node_count=2)) == []


def test_tf_config_has_the_articles_form():
    distribution = DistributionSpec("tensorflow", worker_count=3, parameter_server_count=2)
    ports = [2222, 2223, 2224, 2225, 2226]
    assert port_count(distribution) == len(ports)
    own = assignment(distribution, node=1, node_count=2, ports=ports)
    said = rank_environment(own, ranks_of_node(own)[1])
    assert json.loads(said["TF_CONFIG"]) == {
        "cluster": {
            "worker": ["host0:2222", "host1:2223", "host0:2224"],
            "ps": ["host0:2225", "host1:2226"],
        },
        "task": {"type": "ps", "index": 1},
        "environment": "cloud",
    }


def test_workers_alone_get_no_cluster_of_servers():
    own = assignment(DistributionSpec("tensorflow", worker_count=2, parameter_server_count=0), ports=[1, 2])
    config = json.loads(rank_environment(own, ranks_of_node(own)[0])["TF_CONFIG"])
    assert config["cluster"] == {"worker": ["host0:1", "host0:2"]}


def test_torch_is_told_where_its_first_rank_listens():
    own = assignment(DistributionSpec("torch", process_count_per_node=2), node=1, node_count=2, ports=[29500])
    assert rank_environment(own, ranks_of_node(own)[1]) == {
        "MASTER_ADDR": "host0",
        "MASTER_PORT": "29500",
        "WORLD_SIZE": "4",
        "RANK": "3",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "2",
        "NODE_RANK": "1",
        "GROUP_RANK": "1",
        "GROUP_WORLD_SIZE": "2",
        "ROLE_NAME": "default",
        "ROLE_RANK": "3",
        "ROLE_WORLD_SIZE": "4",
        "AZUREML_CR_NODE_RANK": "1",
    }


@pytest.mark.parametrize(
    ("per_node", "addresses", "beside"),
    [(1, ["host0"], 1), (2, ["host0"], 2), (1, ["host0", "host1"], 1), (1, ["host0", "host0"], 2), (2, ["a", "b"], 2)],
)
def test_ranks_of_torch_that_share_a_machine_get_one_thread_each(per_node, addresses, beside):
    own = assignment(DistributionSpec("torch", process_count_per_node=per_node), 0, len(addresses), addresses, [1])
    assert rank_defaults(own) == ({"OMP_NUM_THREADS": "1"} if beside > 1 else {})
    note = note_of_defaults(own)
    assert (note is None) == (beside == 1)
    if note:
        assert "OMP_NUM_THREADS=1 is set for each of the 2 ranks that share this machine" in note


@pytest.mark.parametrize("kind", ["none", "mpi", "tensorflow"])
def test_nobody_elses_threads_are_counted(kind):
    own = assignment(DistributionSpec(kind, process_count_per_node=2, worker_count=2), ports=[1, 2])
    assert rank_defaults(own) == {} and note_of_defaults(own) is None


def test_mpiexec_starts_no_process_on_a_node_by_itself():
    own = assignment(DistributionSpec("mpi", process_count_per_node=2), node_count=3, addresses=["10.0.0.1", "x", "y"])
    command = mpi.mpiexec_command("/env/bin/mpiexec", own)
    options = "-launcher manual -hosts node0,node1,node2 -localhost 10.0.0.1 -genvnone -wdir / -n 6 -ppn 2"
    rank = 'exec "$RUNYARD_RANK_PYTHON" -I -S "$RUNYARD_RANK_WRAPPER"'
    assert command == ["/env/bin/mpiexec", *options.split(), "/bin/sh", "-c", rank]


def test_launch_lines_are_read_to_their_end_mark():
    lines = mpi.LaunchLines()
    assert lines.read("HYDRA_LAUNCH: /a/hydra_pmi_proxy --proxy-id 0 \n") is None
    assert lines.read("\n") is None
    assert lines.read("HYDRA_LAUNCH: /a/hydra_pmi_proxy --proxy-id 1 \n") is None
    assert lines.read("HYDRA_LAUNCH_END\n") == ["/a/hydra_pmi_proxy --proxy-id 0", "/a/hydra_pmi_proxy --proxy-id 1"]


def test_a_node_starts_its_own_proxy_and_nothing_else():
    assert mpi.proxy_command("/here/hydra_pmi_proxy", "/there/hydra_pmi_proxy --proxy-id 1") == [
        "/here/hydra_pmi_proxy",
        "--proxy-id",
        "1",
    ]
    for line in ("", "/bin/sh -c id", "rm hydra_pmi_proxy"):
        with pytest.raises(ValueError, match="hydra_pmi_proxy"):
            mpi.proxy_command("/here/hydra_pmi_proxy", line)


def test_a_rank_that_called_mpi_abort_is_known_by_what_mpich_prints():
    text = "loss 0.5\nTraceback (most recent call last):\nValueError: no\nAbort(3) on node 1 (rank 1 in comm 0): application\n"
    assert mpi.abort_code(text) == 3
    assert mpi.before_abort(text).endswith("ValueError: no\n")
    assert mpi.abort_code("we Abort(3) on node 1 by hand\n") is None
    assert mpi.before_abort("untouched") == "untouched"
