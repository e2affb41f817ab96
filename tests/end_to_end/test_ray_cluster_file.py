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
