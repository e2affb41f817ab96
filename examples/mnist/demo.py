"""What ``make demo`` runs: the article's code, from the workspace to the registered model, on this machine."""

import os
import shutil
import sys

import handwriting

from runyard import (
    AmlCompute,
    ComputeTarget,
    ComputeTargetException,
    Experiment,
    TensorFlow,
    Workspace,
)

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(os.path.dirname(os.path.dirname(HERE)), "data")
EXPECTED_ACCURACY = 0.97  # on MNIST, after 20 epochs


def get_compute_target(ws, name):
    """The compute target called ``name``, made where it is not there yet."""
    try:
        return ComputeTarget(workspace=ws, name=name)
    except ComputeTargetException:
        print("creating the compute target", name)
    config = AmlCompute.provisioning_configuration(vm_size="STANDARD_NC6", max_nodes=4)
    compute_target = ComputeTarget.create(ws, name, config)
    compute_target.wait_for_completion(show_output=True, min_node_count=None, timeout_in_minutes=20)
    return compute_target


def make_script_folder(folder):
    """A folder with what the run needs and nothing else: all of it becomes the run's snapshot."""
    os.makedirs(folder, exist_ok=True)
    for name in ("tf_mnist.py", "idx.py"):
        shutil.copy(os.path.join(HERE, name), folder)
    return folder


def main():
    data_folder, is_mnist = handwriting.prepare(os.path.join(DATA, "mnist"), os.path.join(DATA, "digits"))

    ws = Workspace.from_config()
    exp = Experiment(workspace=ws, name="tf-mnist")
    ds = ws.get_default_datastore()
    ds.upload(src_dir=data_folder, target_path="mnist", overwrite=True, show_progress=True)

    est = TensorFlow(
        source_directory=make_script_folder(os.path.join(DATA, "tf-mnist")),
        entry_script="tf_mnist.py",
        script_params={
            "--data-folder": ds.as_mount(),
            "--batch-size": 50,
            "--first-layer-neurons": 300,
            "--second-layer-neurons": 100,
            "--learning-rate": 0.01,
        },
        compute_target=get_compute_target(ws, "gpucluster"),
        use_gpu=True,
    )
    run = exp.submit(est)
    run.wait_for_completion(show_output=True)
    model = run.register_model(model_name="tf-dnn-mnist", model_path="outputs/model")

    accuracy = run.get_metrics()["final_acc"]
    print()
    print("accuracy: {:.4f}".format(accuracy))
    print("run: {} {}".format(run.id, run.get_status()))
    print("model: {}:{}".format(model.name, model.version))
    print("page: {}".format(run.get_portal_url()))
    if is_mnist and accuracy < EXPECTED_ACCURACY:
        sys.exit("The accuracy on MNIST should be at least {}.".format(EXPECTED_ACCURACY))


if __name__ == "__main__":
    main()
