"""Runs train.py as two workers on this machine and registers the model."""

import os

from runyard import Experiment, TensorFlow, Workspace
from runyard.runconfig import TensorflowConfiguration

ws = Workspace.from_config()

estimator = TensorFlow(
    source_directory=os.path.dirname(os.path.abspath(__file__)),
    entry_script="train.py",
    script_params={"--steps": 300},
    framework_version="2.21",
    # On a cluster: compute_target="..." and node_count=2; then each worker has a node, and use_gpu=True its GPUs.
    distributed_training=TensorflowConfiguration(worker_count=2, parameter_server_count=0),
)
run = Experiment(ws, "multi-worker").submit(estimator)
run.wait_for_completion(show_output=True)
model = run.register_model("half-moons-tensorflow", "outputs/model")
print("accuracy {:.4f}, model {}:{}".format(run.get_metrics()["accuracy"], model.name, model.version))
