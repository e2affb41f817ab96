"""Compute targets as a person uses them, against a server in memory."""

import io
import json

import pytest

from runyard.compute import AmlCompute, ComputeTarget, LocalCompute
from runyard.errors import ComputeTargetException, UnknownComputeError
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.compute import ComputeRecord, ComputeSpec
from runyard.transport.base import Answer, Transport

CREATED = 1566000000.25  # 2019-08-17 00:00:00.25 UTC
API = "/api/v1"


class Server(Transport):
    """Answers the routes of compute targets; ``records`` by name."""

    def __init__(self):
        self.records = {
            "local": ComputeRecord(ComputeSpec("local", max_nodes=8, type="Local"), "local", "Succeeded", 0, 0, 0)
        }
        self.sent = []
        self.coming = []  # records that take the place of the present ones, one with each look

    def send(self, method, path, body, headers, stream, timeout_s):
        sent = json.loads(body.decode("utf-8")) if body else None
        self.sent.append((method, path[len(API) :], sent))
        status, answer = self._answer(method, path[len(API) :].strip("/").split("/"), sent)
        return Answer(status, {}, io.BytesIO(json.dumps(answer).encode("utf-8")))

    def _answer(self, method, parts, sent):
        if parts == ["vm_sizes"]:
            return 200, [{"name": "STANDARD_NC6", "cpus": 6, "memory_gb": 56.0, "gpus": 1}]
        if len(parts) == 1:
            if method == "GET":
                return 200, to_json(list(self.records.values()))
            spec = from_json(ComputeSpec, sent)
            self.records[spec.name] = record(spec)
            return 200, to_json(self.records[spec.name])
        name = parts[1]
        if name not in self.records:
            message = "There is no compute target '{}'. This workspace has: local.".format(name)
            return 404, {"error": {"code": "unknown_compute", "message": message}}
        if parts[2:] == ["nodes"]:
            return 200, [{"name": name + "-0", "state": "running", "run_id": "r1", "gpus": [0]}]
        if method == "DELETE":
            del self.records[name]
            return 200, {}
        if method == "PATCH":
            values = to_json(self.records[name].spec)
            values.update({key: value for key, value in sent.items() if value is not None})
            self.records[name] = record(from_json(ComputeSpec, values))
        elif self.coming:
            self.records[name] = self.coming.pop(0)
        return 200, to_json(self.records[name])


class Workspace:
    name = "ws"

    def __init__(self):
        self.transport = Server()


def record(spec, **values):
    values.setdefault("nodes_ready", spec.max_nodes)
    values.setdefault("provisioning_state", "Succeeded")
    return ComputeRecord(
        spec=spec, executor="local", created_at=CREATED, modified_at=CREATED + 1, state_changed_at=CREATED + 2, **values
    )


@pytest.fixture
def ws():
    return Workspace()


@pytest.fixture
def cluster(ws):
    configuration = AmlCompute.provisioning_configuration(vm_size="STANDARD_NC6", max_nodes=4)
    return ComputeTarget.create(ws, "gpucluster", configuration)


def test_the_articles_snippet_creates_a_cluster_and_then_finds_it(ws, capsys):
    for said in ("Creating a new compute target...", "Found existing compute target"):
        try:
            compute_target = ComputeTarget(workspace=ws, name="gpucluster")
            print("Found existing compute target")
        except ComputeTargetException:
            print("Creating a new compute target...")
            compute_config = AmlCompute.provisioning_configuration(vm_size="STANDARD_NC6", max_nodes=4)
            compute_target = ComputeTarget.create(ws, "gpucluster", compute_config)
            compute_target.wait_for_completion(show_output=True, min_node_count=None, timeout_in_minutes=20)
        assert capsys.readouterr().out.startswith(said + "\n")
        assert type(compute_target) is AmlCompute
        assert (compute_target.name, compute_target.vm_size) == ("gpucluster", "STANDARD_NC6")


def test_a_missing_target_is_the_exception_that_notebooks_catch(ws):
    with pytest.raises(ComputeTargetException) as failure:
        ComputeTarget(ws, "gpu-clster")
    assert isinstance(failure.value, UnknownComputeError)
    assert "This workspace has: local" in str(failure.value)


def test_a_name_against_the_rules_is_not_even_asked_for(ws):
    with pytest.raises(ComputeTargetException, match="gpucluster"):
        ComputeTarget(ws, "../local")
    assert ws.transport.sent == []


def test_what_is_sent_is_what_was_configured(ws):
    configuration = AmlCompute.provisioning_configuration(
        vm_size="STANDARD_NC6",
        vm_priority="LowPriority",
        min_nodes=1,
        max_nodes=4,
        idle_seconds_before_scaledown=2400,
        tags={"team": "vision"},
        description="ours",
        strict=True,
    )
    ComputeTarget.create(ws, "gpucluster", configuration)
    method, path, sent = ws.transport.sent[-1]
    assert (method, path) == ("POST", "/computes")
    assert from_json(ComputeSpec, sent) == ComputeSpec(
        name="gpucluster",
        vm_size="STANDARD_NC6",
        vm_priority="lowpriority",
        min_nodes=1,
        max_nodes=4,
        idle_seconds_before_scaledown=2400,
        strict=True,
        tags={"team": "vision"},
        description="ours",
    )


def test_azures_settings_of_machines_are_taken_and_left_aside(ws):
    configuration = AmlCompute.provisioning_configuration(
        max_nodes=1,
        admin_username="me",
        admin_user_password="secret",
        vnet_resourcegroup_name="group",
        vnet_name="net",
        subnet_name="sub",
        remote_login_port_public_access="Enabled",
        location="westeurope",
    )
    ComputeTarget.create(ws, "cluster", configuration)
    assert "secret" not in json.dumps(ws.transport.sent)


@pytest.mark.parametrize(
    "given, text",
    [
        ({}, "max_nodes must be provided"),
        ({"max_nodes": 0}, "max_nodes is 1 or more"),
        ({"max_nodes": 2, "min_nodes": 3}, "min_nodes lies between 0 and max_nodes"),
        ({"max_nodes": "4"}, "max_nodes is a whole number; this is '4'"),
        ({"max_nodes": True}, "whole number"),
        ({"max_nodes": 4, "vm_priority": "spot"}, "dedicated, lowpriority"),
        ({"max_nodes": 4, "idle_seconds_before_scaledown": -5}, "0 or more seconds"),
        ({"max_nodes": 4, "vm_size": 6}, "STANDARD_NC6"),
    ],
)
def test_an_impossible_configuration_is_refused_where_it_is_written(given, text):
    with pytest.raises(ComputeTargetException) as failure:
        AmlCompute.provisioning_configuration(**given)
    assert text in str(failure.value)


def test_a_configuration_that_was_changed_is_checked_again(ws):
    configuration = AmlCompute.provisioning_configuration(max_nodes=4)
    configuration.min_nodes = 9
    with pytest.raises(ComputeTargetException):
        ComputeTarget.create(ws, "cluster", configuration)
    assert ws.transport.sent == []


def test_something_else_than_a_configuration_is_refused(ws):
    with pytest.raises(ComputeTargetException, match="provisioning_configuration"):
        ComputeTarget.create(ws, "cluster", {"max_nodes": 4})


def test_local_is_a_target_of_its_own_class(ws):
    local = ComputeTarget(ws, "local")
    assert type(local) is LocalCompute
    assert (local.name, local.type, local.max_nodes, local.get_status()) == ("local", "Local", 8, "Succeeded")


def test_a_class_is_only_given_targets_of_its_type(ws, cluster):
    assert type(AmlCompute(ws, "gpucluster")) is AmlCompute
    with pytest.raises(ComputeTargetException, match="of type LocalCompute, not AmlCompute"):
        AmlCompute(ws, "local")


def test_the_list_has_the_clusters(ws, cluster):
    assert [(type(target), target.name) for target in ComputeTarget.list(ws)] == [(AmlCompute, "gpucluster")]


def test_the_status_has_azures_keys_in_azures_order(ws, cluster):
    spec = ws.transport.records["gpucluster"].spec
    ws.transport.records["gpucluster"] = record(spec, nodes_running=2, nodes_idle=1)
    status = cluster.get_status().serialize()
    assert list(status.items()) == [
        ("currentNodeCount", 3),
        ("targetNodeCount", 3),
        (
            "nodeStateCounts",
            {
                "preparingNodeCount": 0,
                "runningNodeCount": 2,
                "idleNodeCount": 1,
                "unusableNodeCount": 0,
                "leavingNodeCount": 0,
                "preemptedNodeCount": 0,
            },
        ),
        ("allocationState", "Steady"),
        ("allocationStateTransitionTime", "2019-08-17T00:00:02.250000+00:00"),
        ("errors", None),
        ("creationTime", "2019-08-17T00:00:00.250000+00:00"),
        ("modifiedTime", "2019-08-17T00:00:01.250000+00:00"),
        ("provisioningState", "Succeeded"),
        ("provisioningStateTransitionTime", "2019-08-17T00:00:02.250000+00:00"),
        ("scaleSettings", {"minNodeCount": 0, "maxNodeCount": 4, "nodeIdleTimeBeforeScaleDown": "PT1800S"}),
        ("vmPriority", "Dedicated"),
        ("vmSize", "STANDARD_NC6"),
    ]
    assert list(status["nodeStateCounts"]) == [
        "preparingNodeCount",
        "runningNodeCount",
        "idleNodeCount",
        "unusableNodeCount",
        "leavingNodeCount",
        "preemptedNodeCount",
    ]


def test_the_status_has_azures_attributes(cluster):
    status = cluster.get_status()
    assert (status.current_node_count, status.node_state_counts.running_node_count) == (0, 0)
    assert (status.provisioning_state, status.allocation_state) == ("Succeeded", "Steady")
    assert status.scale_settings.maximum_node_count == 4
    assert status.creation_time.timestamp() == CREATED


def test_a_growing_cluster_is_resizing(ws, cluster):
    spec = ws.transport.records["gpucluster"].spec
    ws.transport.records["gpucluster"] = record(spec, nodes_running=1, nodes_preparing=2)
    status = cluster.get_status().serialize()
    assert (status["allocationState"], status["currentNodeCount"], status["targetNodeCount"]) == ("Resizing", 1, 3)


def test_a_target_as_json_has_azures_shape(cluster):
    shown = json.loads(json.dumps(cluster.serialize()))
    assert list(shown) == ["id", "name", "location", "tags", "properties"]
    assert shown["properties"]["computeType"] == "AmlCompute"
    assert shown["properties"]["provisioningState"] == "Succeeded"
    assert shown["properties"]["properties"]["scaleSettings"]["maxNodeCount"] == 4


def test_an_update_sends_what_is_given_and_keeps_the_rest(ws, cluster):
    cluster.update(max_nodes=6)
    assert ws.transport.sent[-1][:2] == ("PATCH", "/computes/gpucluster")
    assert (cluster.scale_settings.maximum_node_count, cluster.scale_settings.minimum_node_count) == (6, 0)
    cluster.update(min_nodes=0, idle_seconds_before_scaledown=60)
    assert cluster.scale_settings.serialize()["nodeIdleTimeBeforeScaleDown"] == "PT60S"


@pytest.mark.parametrize("given", [{"max_nodes": "6"}, {"min_nodes": 1.5}, {"idle_seconds_before_scaledown": -1}])
def test_an_update_with_something_else_than_numbers_is_not_sent(ws, cluster, given):
    before = len(ws.transport.sent)
    with pytest.raises(ComputeTargetException):
        cluster.update(**given)
    assert len(ws.transport.sent) == before


def test_a_deleted_target_is_gone(ws, cluster):
    cluster.delete()
    cluster.wait_for_completion(is_delete_operation=True)
    with pytest.raises(ComputeTargetException):
        cluster.get_status()
    with pytest.raises(ComputeTargetException):
        ComputeTarget(ws, "gpucluster")


def test_nothing_is_attached_or_detached_here(ws, cluster):
    with pytest.raises(ComputeTargetException, match="provisioning_configuration"):
        ComputeTarget.attach(ws, "vm", object())
    with pytest.raises(ComputeTargetException, match="delete"):
        cluster.detach()


def test_nodes_in_use_are_listed_with_their_runs(cluster):
    assert cluster.list_nodes() == [{"nodeId": "gpucluster-0", "nodeState": "running", "runId": "r1", "gpus": [0]}]


def test_the_sizes_are_listed_as_azure_lists_them(ws):
    assert AmlCompute.supported_vmsizes(ws) == [{"name": "STANDARD_NC6", "vCPUs": 6, "gpus": 1, "memoryGB": 56.0}]


def test_waiting_prints_what_azure_prints(cluster, capsys):
    cluster.wait_for_completion(show_output=True)
    assert capsys.readouterr().out.splitlines() == [
        "Succeeded",
        "AmlCompute wait for completion finished",
        "Minimum number of nodes requested have been provisioned",
    ]


def test_waiting_is_silent_unless_asked(cluster, capsys):
    cluster.wait_for_completion()
    assert capsys.readouterr().out == ""


def test_waiting_follows_the_state_until_the_nodes_are_there(ws, cluster, capsys):
    spec = ws.transport.records["gpucluster"].spec
    ws.transport.coming = [
        record(spec, provisioning_state="Creating", nodes_ready=0),
        record(spec, provisioning_state="Creating", nodes_ready=0),
        record(spec, nodes_ready=1),
        record(spec, nodes_ready=2),
    ]
    cluster.wait_for_completion(show_output=True, min_node_count=2)
    assert capsys.readouterr().out.splitlines() == [
        "Creating",
        "Succeeded",
        "AmlCompute wait for completion finished",
        "Minimum number of nodes requested have been provisioned",
    ]
    assert ws.transport.coming == []


def test_waiting_ends_at_its_time_limit_and_says_so(ws, cluster, capsys):
    spec = ws.transport.records["gpucluster"].spec
    ws.transport.records["gpucluster"] = record(spec, nodes_ready=0)
    cluster.wait_for_completion(show_output=True, min_node_count=1, timeout_in_minutes=0)
    assert capsys.readouterr().out.splitlines() == [
        "Succeeded",
        "AmlCompute wait for completion finished",
        "Wait timeout has been reached",
        "Current provisioning state of AmlCompute is Succeeded",
    ]


def test_waiting_for_a_failed_target_ends_with_the_cause(ws, cluster, capsys):
    spec = ws.transport.records["gpucluster"].spec
    failed = record(spec, provisioning_state="Failed", errors=["the cluster is full"], nodes_ready=0)
    ws.transport.records["gpucluster"] = failed
    cluster.wait_for_completion(show_output=True)
    assert capsys.readouterr().out.splitlines()[-1] == "Provisioning failed: the cluster is full"
    assert cluster.get_status().errors == ["the cluster is full"]


def test_waiting_for_more_nodes_than_can_come_is_refused(cluster):
    with pytest.raises(ComputeTargetException, match=r"update\(max_nodes=9\)"):
        cluster.wait_for_completion(min_node_count=9)


def test_a_target_shows_what_it_is(cluster):
    assert repr(cluster) == (
        "AmlCompute(workspace='ws', name='gpucluster', type='AmlCompute', provisioning_state='Succeeded')"
    )
