"""MLflow's own client against a server of ours: experiments, runs, metrics, parameters, tags, files, search."""

import json
import math
import os
import sys
import tempfile

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

client = MlflowClient()


def refused(code, asked, *given, **named):
    try:
        asked(*given, **named)
    except MlflowException as fault:
        assert fault.error_code == code, fault
        return str(fault)
    raise AssertionError("{} was not refused".format(asked.__name__))


# Experiments
experiment_id = client.create_experiment("My experiment / 1", tags={"team": "a"})
assert client.get_experiment(experiment_id).name == "My experiment / 1"
assert client.get_experiment_by_name("My experiment / 1").experiment_id == experiment_id
assert client.get_experiment_by_name("nobody") is None
refused("RESOURCE_ALREADY_EXISTS", client.create_experiment, "My experiment / 1")
refused("RESOURCE_DOES_NOT_EXIST", client.get_experiment, "12345")
client.rename_experiment(experiment_id, "Another name")
client.set_experiment_tag(experiment_id, "team", "b")
assert client.get_experiment(experiment_id).tags == {"team": "b"}
client.delete_experiment(experiment_id)
assert client.get_experiment(experiment_id).lifecycle_stage == "deleted"
assert [one.name for one in client.search_experiments(ViewType.DELETED_ONLY)] == ["Another name"]
client.restore_experiment(experiment_id)
assert [one.name for one in client.search_experiments(filter_string="tags.team = 'b'")] == ["Another name"]

# A run
mlflow.set_experiment("Another name")
with mlflow.start_run(run_name="first", description="a note", tags={"k": "v"}) as run:
    run_id = run.info.run_id
    mlflow.log_params({"lr": 0.1, "layers/0": "dense"})
    for step in range(5):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    client.log_batch(
        run_id,
        [Metric("acc", 0.5, 1000, 1), Metric("acc", 0.75, 2000, 2), Metric("nan", math.nan, 1, 0)],
        [Param("batch", "32")],
        [RunTag("mlflow.note.content", "another note")],
    )
    mlflow.log_metric("infinite", -math.inf)
    with mlflow.start_run(nested=True) as child:
        mlflow.log_metric("loss", 7)
found = client.get_run(run_id)
assert found.info.status == "FINISHED" and found.info.run_name == "first"
assert found.data.params == {"lr": "0.1", "layers/0": "dense", "batch": "32"}
assert found.data.metrics["loss"] == 0.2 and found.data.metrics["acc"] == 0.75
assert math.isnan(found.data.metrics["nan"]) and found.data.metrics["infinite"] == -math.inf
assert found.data.tags["k"] == "v" and found.data.tags["mlflow.note.content"] == "another note"
assert client.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == run_id
history = client.get_metric_history(run_id, "acc")
assert [(one.value, one.timestamp, one.step) for one in history] == [(0.5, 1000, 1), (0.75, 2000, 2)]
client.log_metric(run_id, "acc", 0.75, 2000, 2)  # as a client does whose answer was lost
assert len(client.get_metric_history(run_id, "acc")) == 2
client.log_param(run_id, "lr", 0.1)
said = refused("INVALID_PARAMETER_VALUE", client.log_param, run_id, "lr", 0.2)
assert "Changing param values is not allowed" in said, said
refused("RESOURCE_DOES_NOT_EXIST", client.get_run, "nobody")
client.set_tag(run_id, "k", "w")
client.delete_tag(run_id, "k")
assert "k" not in client.get_run(run_id).data.tags

# Search
other = client.create_run(experiment_id, run_name="second", start_time=1000)
client.log_metric(other.info.run_id, "loss", 0.9)
client.log_param(other.info.run_id, "lr", "0.5")


def names(query, **more):
    return [one.info.run_name for one in client.search_runs([experiment_id], query, **more)]


assert names("metrics.loss < 0.3") == ["first"]
assert names("params.lr = '0.5'") == ["second"]
assert names("params.lr LIKE '0.%' AND attributes.run_name != 'first'") == ["second"]
assert names("tags.`mlflow.parentRunId` = '{}'".format(run_id)) == [client.get_run(child.info.run_id).info.run_name]
assert names("attributes.status = 'RUNNING'") == ["second"]
assert names("", order_by=["metrics.loss ASC"])[:2] == ["first", "second"]
first_page = client.search_runs([experiment_id], "", max_results=2)
assert len(first_page) == 2 and len(client.search_runs([experiment_id], "", page_token=first_page.token)) == 1
stones = Dataset("stones", "a1b2", "code", "{}")
client.log_inputs(run_id, [DatasetInput(stones, [InputTag("mlflow.data.context", "training")])])
assert names("dataset.name LIKE 'st%' AND dataset.digest = 'a1b2' AND dataset.context IN ('training')") == ["first"]
assert names("dataset.context != 'training'") == []
refused("INVALID_PARAMETER_VALUE", client.search_runs, [experiment_id], "().__class__.__mro__ = 'x'")
client.set_terminated(other.info.run_id, "FAILED")
client.delete_run(other.info.run_id)
assert names("params.lr = '0.5'") == []
assert names("params.lr = '0.5'", run_view_type=ViewType.DELETED_ONLY) == ["second"]
client.restore_run(other.info.run_id)
assert client.get_run(other.info.run_id).info.status == "FAILED"

# Files
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "weights é.bin")
    with open(path, "wb") as out:
        out.write(b"1 2 3" * 400000)
    sent = []
    send = HttpArtifactRepository._upload_part
    HttpArtifactRepository._upload_part = staticmethod(lambda **part: sent.append(part["start_byte"]) or send(**part))
    client.log_artifact(run_id, path, "model")
    assert sorted(sent) == [300000 * number for number in range(7)], sent
    client.log_artifact(run_id, path)
    assert len(sent) == 14
    client.log_text(run_id, "hello", "notes/a.txt")
    assert [one.path for one in client.list_artifacts(run_id)] == ["model", "notes", "weights é.bin"]
    assert [(one.path, one.file_size) for one in client.list_artifacts(run_id, "model")] == [
        ("model/weights é.bin", 2000000)
    ]
    fetched = client.download_artifacts(run_id, "model", folder)
    with open(os.path.join(fetched, "weights é.bin"), "rb") as source:
        assert source.read() == b"1 2 3" * 400000

# The registry
client.create_registered_model("my model", tags={"a": "b"}, description="of mine")
refused("RESOURCE_ALREADY_EXISTS", client.create_registered_model, "my model")
version = client.create_model_version("my model", "runs:/{}/model".format(run_id), run_id, tags={"t": "1"})
assert (version.version, version.status, version.run_id) in [("1", "READY", run_id), (1, "READY", run_id)]
client.set_registered_model_alias("my model", "champion", 1)
assert client.get_model_version_by_alias("my model", "champion").tags == {"t": "1"}
assert client.transition_model_version_stage("my model", 1, "Production").current_stage == "Production"
assert [int(one.version) for one in client.get_latest_versions("my model", ["Production"])] == [1]
place = mlflow.artifacts.download_artifacts("models:/my model@champion")
assert sorted(os.listdir(place)) == ["weights é.bin"], os.listdir(place)
copied = client.copy_model_version("models:/my model/1", "copy")
assert int(copied.version) == 1
assert [one.name for one in client.search_registered_models("name LIKE 'my%'")] == ["my model"]
assert len(client.search_model_versions("run_id = '{}'".format(run_id))) == 2
client.rename_registered_model("copy", "renamed")
refused("RESOURCE_DOES_NOT_EXIST", client.get_registered_model, "copy")
client.delete_registered_model_alias("my model", "champion")
client.delete_model_version("my model", 1)
client.delete_registered_model("renamed")
assert [one.name for one in client.search_registered_models()] == ["my model"]
json.dump({"run_id": run_id, "experiment_id": experiment_id}, sys.stdout)
