"""A Ray cluster file of a person's, as ``ray up`` gets it with a compute target's sizes in it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from runyard import RayCompute

CLUSTER: dict[str, Any] = {
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


@pytest.mark.parametrize(
    ("provider", "machine", "node_config"),
    [
        ("aws", "p4d.24xlarge", {"InstanceType": "p4d.24xlarge", "ImageId": "ami-1"}),
        ("gcp", "n1-standard-8", {"InstanceType": "m5.xlarge", "ImageId": "ami-1", "machineType": "n1-standard-8"}),
    ],
)
def test_a_targets_sizes_go_into_the_cluster_file_and_all_else_stays(
    tmp_path: Path, provider: str, machine: str, node_config: dict[str, str]
) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump(dict(CLUSTER, provider={"type": provider})))
    configuration = RayCompute.provisioning_configuration(
        str(file), max_nodes=8, min_nodes=1, idle_seconds_before_scaledown=300, machine=machine, gpus_per_node=8
    )
    written = configuration.write()
    assert written == str(tmp_path / "cluster.runyard.yaml")
    found = yaml.safe_load((tmp_path / "cluster.runyard.yaml").read_text())
    worker = found["available_node_types"]["worker"]
    assert (found["max_workers"], found["idle_timeout_minutes"]) == (8, 5.0)
    assert (worker["min_workers"], worker["max_workers"], worker["resources"]) == (1, 8, {"GPU": 8})
    assert worker["node_config"] == node_config
    assert found["available_node_types"]["head"] == CLUSTER["available_node_types"]["head"]
    assert found["setup_commands"] == CLUSTER["setup_commands"]
    assert yaml.safe_load(file.read_text())["max_workers"] == 2  # the author's own file is left alone


def test_azures_name_of_a_machine_goes_where_rays_file_for_azure_has_it(tmp_path: Path) -> None:
    own = {"vmSize": "Standard_D2s_v3", "imagePublisher": "microsoft-dsvm", "priority": "Spot"}
    worker = {"node_config": {"azure_arm_parameters": own}, "resources": {"CPU": 2}}
    types = dict(CLUSTER["available_node_types"], worker=worker)
    provider = {"type": "azure", "location": "westus2", "resource_group": "ray"}
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump(dict(CLUSTER, provider=provider, available_node_types=types)))
    configuration = RayCompute.provisioning_configuration(
        str(file), max_nodes=4, vm_size="STANDARD_NC6", idle_seconds_before_scaledown=1200
    )
    found = yaml.safe_load(Path(configuration.write()).read_text())
    made = found["available_node_types"]["worker"]
    assert made["node_config"] == {"azure_arm_parameters": dict(own, vmSize="STANDARD_NC6")}
    assert (made["min_workers"], made["max_workers"]) == (0, 4)
    assert (found["max_workers"], found["idle_timeout_minutes"], found["provider"]) == (4, 20.0, provider)
    assert made["resources"] == {"CPU": 2}  # nothing was said of it
