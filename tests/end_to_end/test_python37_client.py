"""A client on Python 3.7 with azureml's names alone, and a script that runs on Python 3.7, beside a present server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CLIENT = """
import os, sys
from azureml.core import Environment, Experiment, Model, Run, ScriptRunConfig, Workspace

ws = Workspace.from_config()
env = Environment("old-python")
env.python.user_managed_dependencies = True
env.python.interpreter_path = sys.executable
ws.get_default_datastore().upload("data", target_path="data", show_progress=True)
run = Experiment(ws, "old-client").submit(ScriptRunConfig(
    "project", "train.py", ["--data", ws.get_default_datastore().path("data").as_mount()], environment=env))
details = run.wait_for_completion(show_output=True)
print("status", details["status"], run.get_metrics())
run.download_file("outputs/model/weights", "weights")
print("weights", open("weights").read())
model = run.register_model("old-model", "outputs/model", tags={"python": "3.7"})
print("model", model.id, sorted(os.listdir(Model(ws, "old-model").download("fetched"))))
with Experiment(ws, "old-client").start_logging(snapshot_directory=None) as interactive:
    interactive.log("loss", 0.5)
print("interactive", interactive.get_metrics(), interactive.verify()["ok"])
print("verified", run.verify()["ok"])
"""

SCRIPT = """
import os, sys
from azureml.core import Run

run = Run.get_context()
print("training on", "%d.%d" % sys.version_info[:2], open(os.path.join(sys.argv[2], "file")).read())
for loss in (0.5, 0.25):
    run.log("loss", loss)
os.makedirs("outputs/model")
with open("outputs/model/weights", "w") as out:
    out.write("1 2 3")
"""


@pytest.mark.python37
def test_a_client_on_python_3_7_submits_follows_downloads_and_registers(
    python37: str, runyard_home: Path, tmp_path: Path
) -> None:
    for name, text in {"project/train.py": SCRIPT, "data/file": "the data", "client.py": CLIENT}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "config.json").write_text(
        '{"subscription_id": "0-0", "resource_group": "docs", "workspace_name": "old-client"}'
    )
    packages = os.pathsep.join(str(ROOT / folder) for folder in ("sdk", "azureml"))
    environment = dict(os.environ, PYTHONPATH=packages, RUNYARD_SERVER_PYTHON=sys.executable)

    done = subprocess.run(
        [python37, "client.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    said = done.stdout.splitlines()
    assert "Uploaded 1 files" in said
    assert "training on 3.7 the data" in said
    assert said[-5:] == [
        "status Completed {'loss': [0.5, 0.25]}",
        "weights 1 2 3",
        "model old-model:1 ['weights']",
        "interactive {'loss': 0.5} True",
        "verified True",
    ]
