"""Runs train.py as two workers and a parameter server on this machine and registers the model."""

import os

from runyard import Experiment, TensorFlow, Workspace
from runyard.runconfig import TensorflowConfiguration

ws = Workspace.from_config()

estimator = TensorFlow(
    source_directory=os.path.dirname(os.path.abspath(__file__)),
    entry_script="train.py",
    script_params={"--steps": 600},
    framework_version="1.13",
    environment_variables={"PYTHONWARNINGS": "ignore::FutureWarning"},  # NumPy's, about TensorFlow 1 itself
    # On a cluster: compute_target="..." and node_count=2; tasks of each kind are dealt out to the nodes in turn.
    distributed_training=TensorflowConfiguration(worker_count=2, parameter_server_count=1),
)
run = Experiment(ws, "tensorflow-1").submit(estimator)
run.wait_for_completion(show_output=True)
model = run.register_model("half-moons-tensorflow-1", "outputs/checkpoints")
print("accuracy {:.4f}, model {}:{}".format(run.get_metrics()["accuracy"], model.name, model.version))
