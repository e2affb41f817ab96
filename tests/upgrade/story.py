"""What happens in a home that is kept, and everything that can be read back from it: told to any version's client."""

import hashlib
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

from runyard import (
    AmlCompute,
    ComputeTarget,
    Dataset,
    Environment,
    Experiment,
    Model,
    Run,
    ScriptRunConfig,
    Workspace,
)
from runyard.protocol.codec import to_json
from runyard.protocol.status import RunStatus

WORKSPACE = "kept"
EXPERIMENT = "story"
LINES = 30  # that the run prints and logs which goes on when the home is left

COMPLETES = """
import os
from runyard import Run
run = Run.get_context()
for step in range(100):
    run.log("loss", 1.0 / (step + 1))
for value in (float("nan"), float("inf"), -0.0, 1e300):
    run.log("odd", value)
run.log_list("squares", [n * n for n in range(10)])
run.log_row("point", x=1, y=2.5)
run.log_table("table", {"a": [1, 2], "b": ["x", "y"]})
run.tag("said", "by the script")
os.makedirs("outputs/deep", exist_ok=True)
with open("outputs/model.bin", "wb") as out:
    out.write(bytes(range(256)) * 8)
with open("outputs/large.bin", "wb") as out:
    out.write(bytes(range(256)) * 40_000)
with open("outputs/deep/notes.txt", "w") as out:
    out.write("notes: \\u00e9\\u4e2d\\n")
for number in range(20):
    print("line", number)
"""
FAILS = "print('before')\nraise ValueError('the story goes wrong here')\n"
WAITS = f"""
import os, sys, time
from runyard import Run
run = Run.get_context()
for number in range({LINES}):
    print("line", number, flush=True)
    run.log("steps", number)
os.makedirs("outputs", exist_ok=True)
with open("outputs/half.txt", "w") as out:
    out.write("written before the end")
open(sys.argv[1], "w").close()
while not os.path.exists(sys.argv[2]):
    time.sleep(0.05)
print("let go", flush=True)
"""
QUEUES = "print('it was my turn')\n"


def tell(workspace: Workspace, folder: Path) -> tuple[Run, Run]:
    """Fills a workspace; gives the run that goes on and the one that is queued behind it.

    Args:
        folder: for sources; the run that goes on makes ``ready`` in it, and ends when ``go`` is there.
    """
    experiment = Experiment(workspace, EXPERIMENT)
    experiment.tag("told", "once")
    completed = submit(experiment, folder, COMPLETES, tags={"from": "the client"})
    completed.wait_for_completion()
    completed.add_properties({"property": "of the client"})
    completed.register_model("large-model", "outputs/large.bin")
    for version in ("first", "second"):
        completed.register_model("kept-model", "outputs/model.bin", tags={"which": version})
    submit(experiment, folder, FAILS).wait_for_completion(raise_on_error=False)
    bare = submit(experiment, folder, "print('on a bare Python')\n", environment=Environment("bare"))
    bare.wait_for_completion()
    typed = experiment.start_logging(snapshot_directory=None)
    typed.log("typed", 1.5)
    typed.complete()
    registered = Environment("registered")
    registered.python.conda_dependencies.add_pip_package("six==1.16.0")
    registered.register(workspace)
    registered.environment_variables["MODE"] = "fast"
    registered.register(workspace)
    data = folder / "data"
    data.mkdir()
    (data / "digits.txt").write_text("0123456789")
    (data / "large.txt").write_text("0123456789" * 1_000_000)
    store = workspace.get_default_datastore()
    store.upload(str(data), target_path="digits", show_progress=False)
    digits = Dataset.File.from_files((store, "digits")).register(workspace, "digits", "ten of them", {"which": "first"})
    Dataset.File.from_files((store, "digits/d*.txt")).register(workspace, "digits", create_new_version=True)
    Dataset.Tabular.from_delimited_files((store, "digits/d*.txt")).take(5).register(workspace, "digits as a table")
    completed.register_model("kept-model", "outputs/model.bin", datasets=[(Dataset.Scenario.TRAINING, digits)])
    config = AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", max_nodes=1)
    ComputeTarget.create(workspace, "narrow", config)
    going_on = submit(
        experiment,
        folder,
        WAITS,
        arguments=[str(folder / "ready"), str(folder / "go")],
        compute_target="narrow",
    )
    queued = submit(experiment, folder, QUEUES, compute_target="narrow")
    canceled = submit(experiment, folder, QUEUES, compute_target="narrow")
    canceled.cancel()
    canceled.wait_for_completion(raise_on_error=False)
    return going_on, queued


def submit(experiment: Experiment, folder: Path, script: str, tags: Any = None, **config: Any) -> Run:
    source = Path(tempfile.mkdtemp(dir=folder))
    (source / "train.py").write_text(script)
    if "environment" not in config:
        config["environment"] = Environment("as-it-is")
        config["environment"].python.user_managed_dependencies = True
    return experiment.submit(ScriptRunConfig(str(source), "train.py", **config), tags=tags)


def read_back(workspace: Workspace) -> dict[str, Any]:
    """Everything that the workspace says of itself and of the runs that have ended, as JSON values."""
    experiments = {name: experiment.tags for name, experiment in workspace.experiments.items()}
    runs = [run for name in experiments for run in Experiment(workspace, name).get_runs()]
    target = workspace.compute_targets["narrow"]
    with tempfile.TemporaryDirectory() as place:
        workspace.get_default_datastore().download(place, prefix="digits", show_progress=False)
        data = files_below(Path(place))
    return {
        "experiments": experiments,
        "runs": {run.id: read_run(run) for run in runs if RunStatus(run.get_status()).is_terminal},
        "models": {f"{model.name}:{model.version}": read_model(model) for model in Model.list(workspace)},
        "environments": {
            f"{name}:{each.version}": [each.python.conda_dependencies.serialize_to_string(), each.environment_variables]
            for name in workspace.environments
            for each in Environment.versions(workspace, name)
        },
        "datasets": {
            f"{name}:{dataset.version}": read_dataset(dataset) for name, dataset in workspace.datasets.items()
        },
        "targets": {"narrow": [type(target).__name__, target.vm_size, target.scale_settings.maximum_node_count]},
        "data": data,
    }


def read_run(run: Run) -> dict[str, Any]:
    record = run._refresh()
    record.pop("portal_url", None)  # names the server's port
    with tempfile.TemporaryDirectory() as place:
        if record.get("snapshot"):
            run.restore_snapshot(path=place)
        code = files_below(Path(place))
    return {
        "record": record,
        "events": run._call("GET", "events"),
        "metrics": plain(run.get_metrics()),
        "files": {name: hashlib.sha256(run._read_file(name)).hexdigest() for name in run.get_file_names()},
        "code": code,
        "verified": run.verify() if run.get_status() == "Completed" else None,
    }


def read_dataset(dataset: Any) -> dict[str, Any]:
    definition = to_json(dataset.to_definition())
    return {"id": dataset.id, "description": dataset.description, "tags": dataset.tags, "definition": definition}


def read_model(model: Model) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        model.download(place)
        files = files_below(Path(place))
    datasets = {purpose: [dataset.id for dataset in found] for purpose, found in model.datasets.items()}
    return {"tags": model.tags, "run": model.run_id, "files": files, "datasets": datasets}


def files_below(folder: Path) -> dict[str, str]:
    """Relative path -> digest."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def plain(value: Any) -> Any:
    """JSON values that are equal when they mean the same: what is not finite, and the sign of a zero, as text."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and (not math.isfinite(value) or value == 0.0):
        return repr(value)
    return value


def differences(expected: Any, found: Any, path: str = "") -> list[str]:
    """Where ``found`` does not hold what is expected. A newer version may say more of a thing, never less."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            line
            for key, value in expected.items()
            for line in (
                differences(value, found[key], f"{path}/{key}")
                if key in found
                else [f"{path}/{key} is gone: {value!r}"]
            )
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return [line for number, (one, other) in pairs for line in differences(one, other, f"{path}/{number}")]
    return [] if expected == found else [f"{path}: {found!r} instead of {expected!r}"]


def as_json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def open_workspace(home: Path) -> Workspace:
    """The kept workspace below ``RUNYARD_HOME``, whose server is started."""
    assert os.environ["RUNYARD_HOME"] == str(home)
    return Workspace.create(WORKSPACE, exist_ok=True, show_output=False)
