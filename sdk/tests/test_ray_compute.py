"""What a compute target on a Ray cluster is asked to be: by the SDK, and on the command line."""

import re

import pytest

from runyard.cli import computes
from runyard.cli.main import parser
from runyard.compute import ComputeTarget
from runyard.errors import ComputeTargetException
from runyard.job.ray_gang import described
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.compute import ComputeRecord, ComputeSpec, RaySpec
from runyard.ray_cluster_file import sized, start
from runyard.ray_compute import RayCompute


def test_everything_that_is_asked_of_ray_travels_and_its_token_is_in_no_repr():
    configuration = RayCompute.attach_configuration(
        "http://head:8265",
        token="the-clusters-own",
        cpus_per_node=16,
        gpus_per_node=4,
        memory_mb=64000,
        resources={"fast-disk": 0.5},
        max_nodes=3,
        tags={"team": "vision"},
    )
    spec = configuration.to_spec("cluster")
    assert from_json(ComputeSpec, to_json(spec)) == spec
    assert (spec.executor, spec.type, spec.max_nodes, spec.tags) == ("ray", "Ray", 3, {"team": "vision"})
    assert spec.ray.token == "the-clusters-own"
    assert "the-clusters-own" not in repr(spec)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"address": ""}, "address is that of the Ray cluster's dashboard"),
        ({"cpus_per_node": "many"}, "cpus_per_node is a whole number"),
        ({"max_nodes": 0}, "max_nodes=0"),
        ({"resources": {"disk": "big"}}, "resources are numbers by name"),
    ],
)
def test_what_cannot_be_is_refused(given, words):
    with pytest.raises(ComputeTargetException, match=words):
        RayCompute.attach_configuration(**dict({"address": "http://head:8265"}, **given))


def test_an_attached_cluster_is_opened_as_what_it_is_and_can_be_detached():
    spec = ComputeSpec("cluster", max_nodes=4, executor="ray", type="Ray", ray=RaySpec("http://head:8265"))
    target = ComputeTarget._of(None, ComputeRecord(spec, "ray", "Succeeded", 0, 0, 0))
    assert isinstance(target, RayCompute)
    assert target.is_attached
    assert target._properties()["ray"]["address"] == "http://head:8265"
    assert "token" not in target._properties()["ray"]


def test_the_command_line_says_the_same_and_reads_the_token_from_a_file(tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text("the-clusters-own\n")
    words = "compute attach cluster --address head --cpus-per-node 4 --resource fast-disk=0.5 --token-file"
    given = parser().parse_args([*words.split(), str(file)])
    assert computes._token(given.token_file) == "the-clusters-own"
    assert computes._amounts(dict(given.resource)) == {"fast-disk": 0.5}
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-the-environment")
    assert computes._token(None) == "of-the-environment"
    with pytest.raises(ComputeTargetException, match="The token cannot be read"):
        computes._token(str(tmp_path / "gone"))


def test_what_is_asked_of_each_node_is_told_in_words():
    assert described({"CPU": 1}) == "1 CPU"
    assert described({"CPU": 8, "GPU": 2, "memory": 64e9, "fast-disk": 0.5}) == (
        "8 CPUs and 2 GPUs and 64000 MB and 0.5 fast-disk"
    )


CLUSTER = {
    "cluster_name": "ours",
    "provider": {"type": "aws", "region": "us-west-2"},
    "max_workers": 2,
    "head_node_type": "head",
    "available_node_types": {
        "head": {"node_config": {"InstanceType": "m5.large"}, "resources": {"CPU": 0}},
        "worker": {"node_config": {"InstanceType": "m5.xlarge", "ImageId": "ami-1"}, "max_workers": 2},
    },
    "setup_commands": ["pip install ray"],
}


def test_the_sizes_go_into_the_chosen_node_type_and_all_else_stays():
    found = sized(CLUSTER, 1, 8, idle_seconds=300, machine="p4d.24xlarge", resources={"GPU": 8})
    worker = found["available_node_types"]["worker"]
    assert (found["max_workers"], found["idle_timeout_minutes"]) == (8, 5.0)
    assert (worker["min_workers"], worker["max_workers"], worker["resources"]) == (1, 8, {"GPU": 8})
    assert worker["node_config"] == {"InstanceType": "p4d.24xlarge", "ImageId": "ami-1"}
    assert found["available_node_types"]["head"] == CLUSTER["available_node_types"]["head"]
    assert CLUSTER["max_workers"] == 2


def test_azures_name_of_a_size_is_the_machine_where_the_cloud_is_azures():
    azure = dict(CLUSTER, provider={"type": "azure"})
    found = sized(azure, 0, 4, machine="Standard_NC6")
    node_config = found["available_node_types"]["worker"]["node_config"]
    assert node_config["azure_arm_parameters"] == {"vmSize": "Standard_NC6"}


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ({}, "no Ray cluster file"),
        (dict(CLUSTER, head_node_type="other"), "no Ray cluster file"),
        (dict(CLUSTER, available_node_types={"head": {}}), "it has none"),
        (dict(CLUSTER, available_node_types={"head": {}, "a": {}, "b": {}}), "node_type=...: a, b"),
        (dict(CLUSTER, provider={"type": "vsphere"}), "for vsphere write it into the file itself"),
    ],
)
def test_a_cluster_file_that_does_not_say_which_nodes_is_refused(cluster, words):
    with pytest.raises(ComputeTargetException, match=re.escape(words)):
        sized(cluster, 0, 4, machine="big")


def test_a_machine_without_ray_says_what_to_run_where_ray_is(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ComputeTargetException, match="Run `ray up /x/cluster.yaml` where Ray is"):
        start("/x/cluster.yaml")


def test_the_cluster_is_started_by_ray_up_and_its_head_is_the_address(tmp_path, monkeypatch):
    program = tmp_path / "ray"
    program.write_text('#!/bin/sh\necho "$*" >>{0}/said\n[ "$1" = up ] || echo 10.1.2.3\n'.format(tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", "{}:/usr/bin:/bin".format(tmp_path))
    assert start("/x/cluster.yaml") == "http://10.1.2.3:8265"
    assert (tmp_path / "said").read_text().splitlines() == ["up --yes /x/cluster.yaml", "get-head-ip /x/cluster.yaml"]
    program.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(ComputeTargetException, match="ended with exit code 3"):
        start("/x/cluster.yaml")
