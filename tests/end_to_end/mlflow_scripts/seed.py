"""Fills an MLflow store (MLFLOW_TRACKING_URI) with a little of every kind; prints what an import must find, as JSON.

The argument names the registered model.
"""

import json
import math
import sys
import tempfile
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

client = MlflowClient()
MODEL = sys.argv[1]
experiment = client.create_experiment("Fruit / apples", tags={"season": "autumn"})
parent = client.create_run(experiment, run_name="parent", start_time=1_700_000_000_000)
points = [
    Metric("loss", 1.0, 1_700_000_000_123, 0),
    Metric("loss", math.nan, 1_700_000_001_000, 1),
    Metric("loss", math.inf, 1_700_000_002_000, 2),
    Metric("loss", -math.inf, 1_700_000_003_000, 3),
    Metric("loss", 1 / 3, 1_700_000_003_001, 4),
    Metric("loss", 0.25, 1_700_000_003_002, 4),
    Metric("val loss", 1e-300, 1_700_000_003_001, -5),
]
client.log_batch(parent.info.run_id, points, [Param("lr", "0.1"), Param("empty", "")], [RunTag("a key", "a välue\n")])
client.set_tag(parent.info.run_id, "mlflow.note.content", "what it was for")
many = [Metric("many", float(step), 1_700_000_000_000 + step, step) for step in range(2500)]
for start in range(0, len(many), 1000):
    client.log_batch(parent.info.run_id, many[start : start + 1000])
child = client.create_run(
    experiment, run_name="child", start_time=1_700_000_000_500, tags={"mlflow.parentRunId": parent.info.run_id}
)
with tempfile.TemporaryDirectory() as folder:
    place = Path(folder, "model")
    place.mkdir()
    (place / "weights é.bin").write_bytes(bytes(range(256)) * 40)
    (place / "MLmodel").write_text("artifact_path: model\n")
    client.log_artifacts(child.info.run_id, str(place), "model")
    (Path(folder) / "empty.txt").write_text("")
    client.log_artifact(child.info.run_id, str(Path(folder) / "empty.txt"))
client.set_terminated(child.info.run_id, "FAILED", end_time=1_700_000_009_000)
client.set_terminated(parent.info.run_id, "FINISHED", end_time=1_700_000_010_500)
running = client.create_run("0", run_name="goes on")
client.log_metric(running.info.run_id, "x", 1.0, timestamp=1_700_000_000_000, step=1)
deleted = client.create_run(experiment)
client.delete_run(deleted.info.run_id)
client.delete_experiment(client.create_experiment("deleted"))

logged = mlflow.create_external_model(
    "net", params={"depth": "3"}, tags={"kind": "test"}, source_run_id=child.info.run_id
)

source = f"{client.get_run(child.info.run_id).info.artifact_uri}/model"
client.create_registered_model(MODEL, tags={"owner": "me"}, description="of apples")
for number in range(3):
    client.create_model_version(MODEL, source, child.info.run_id, tags={"n": str(number)}, description=f"v{number}")
client.delete_model_version(MODEL, "2")
client.set_registered_model_alias(MODEL, "best", "3")
client.transition_model_version_stage(MODEL, "1", "Production")

print(
    json.dumps(
        {
            "experiment": experiment,
            "parent": parent.info.run_id,
            "child": child.info.run_id,
            "running": running.info.run_id,
            "deleted": deleted.info.run_id,
            "logged_model": logged.model_id,
        }
    )
)
