"""The article's code, typed in: from the workspace to the downloaded model, on the real MNIST, with TensorFlow."""

import os
import shutil
from pathlib import Path

import pytest

from runyard import (
    AmlCompute,
    ComputeTarget,
    ComputeTargetException,
    Experiment,
    Model,
    Run,
    TensorFlow,
    Workspace,
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "mnist"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's folder: the scripts, the data, and Azure's config.json."""
    given = os.environ.get("MNIST_DIR")
    if not given:
        pytest.skip("MNIST_DIR names no folder with MNIST's four files")
    data = tmp_path / "data" / "mnist"
    data.mkdir(parents=True)
    for file in Path(given).glob("*.gz"):
        shutil.copy(file, data)
    for name in ("tf_mnist.py", "idx.py"):
        shutil.copy(EXAMPLE / name, tmp_path)
    (tmp_path / "config.json").write_text(
        '{"subscription_id": "0-0", "resource_group": "docs", "workspace_name": "the-article"}'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.network
@pytest.mark.tensorflow
@pytest.mark.slow
def test_the_article_runs_from_the_workspace_to_the_downloaded_model(
    runyard_home: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ws = Workspace.from_config()

    script_folder = "./tf-mnist"
    os.makedirs(script_folder, exist_ok=True)
    exp = Experiment(workspace=ws, name="tf-mnist")

    ds = ws.get_default_datastore()
    ds.upload(src_dir="./data/mnist", target_path="mnist", overwrite=True, show_progress=True)
    shutil.copy("./tf_mnist.py", script_folder)
    shutil.copy("./idx.py", script_folder)

    cluster_name = "gpucluster"
    try:
        compute_target = ComputeTarget(workspace=ws, name=cluster_name)
        print("Found existing compute target")
    except ComputeTargetException:
        print("Creating a new compute target...")
        compute_config = AmlCompute.provisioning_configuration(vm_size="STANDARD_NC6", max_nodes=4)
        compute_target = ComputeTarget.create(ws, cluster_name, compute_config)
        compute_target.wait_for_completion(show_output=True, min_node_count=None, timeout_in_minutes=20)

    script_params = {
        "--data-folder": ws.get_default_datastore().as_mount(),
        "--batch-size": 50,
        "--first-layer-neurons": 300,
        "--second-layer-neurons": 100,
        "--learning-rate": 0.01,
        "--epochs": 2,  # the article's 20 are for `make demo`
    }
    est = TensorFlow(
        source_directory=script_folder,
        entry_script="tf_mnist.py",
        script_params=script_params,
        compute_target=compute_target,
        use_gpu=True,
    )

    run = exp.submit(est)
    run.wait_for_completion(show_output=True)

    model = run.register_model(model_name="tf-dnn-mnist", model_path="outputs/model")

    os.makedirs("./model", exist_ok=True)
    for f in run.get_file_names():
        if f.startswith("outputs/model"):
            output_file_path = os.path.join("./model", f.split("/")[-1])
            print(f"Downloading from {f} to {output_file_path} ...")
            run.download_file(name=f, output_file_path=output_file_path)

    said = capsys.readouterr().out
    assert "Creating a new compute target..." in said
    assert "Streaming azureml-logs/70_driver_log.txt" in said
    assert run.get_status() == "Completed"
    assert run.get_metrics()["final_acc"] > 0.9
    assert (model.name, model.version, model.run_id) == ("tf-dnn-mnist", 1, run.id)
    kept = {Path(f).name for f in run.get_file_names() if f.startswith("outputs/model")}
    assert kept and {file.name for file in (project / "model").iterdir()} == kept
    assert Path(Model(ws, "tf-dnn-mnist").download("./registered")).is_dir()
    assert run.verify()["ok"]
    _a_second_upload_and_a_second_run_do_nothing_twice(ws, ds, exp, est, run)


def _a_second_upload_and_a_second_run_do_nothing_twice(
    ws: Workspace, ds: object, exp: Experiment, est: TensorFlow, first: Run
) -> None:
    reference = ds.upload(src_dir="./data/mnist", target_path="mnist", overwrite=True)  # type: ignore[attr-defined]
    assert (reference.uploaded, reference.skipped) == (0, 4)
    again = exp.submit(est, script_params={"--epochs": 1})
    again.wait_for_completion()
    assert again._record()["environment_key"] == first._refresh()["environment_key"]
    assert "azureml-logs/20_image_build_log.txt" in first.get_file_names()
    built = "azureml-logs/20_image_build_log.txt"
    assert built not in again.get_file_names(), again._read_log(built)
    assert [found.id for found in exp.get_runs()] == [again.id, first.id]
