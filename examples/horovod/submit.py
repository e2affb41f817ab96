"""Runs train.py as two ranks of MPI on this machine and registers the model."""

import os

from runyard import Experiment, TensorFlow, Workspace
from runyard.runconfig import MpiConfiguration

ws = Workspace.from_config()

estimator = TensorFlow(
    source_directory=os.path.dirname(os.path.abspath(__file__)),
    entry_script="train.py",
    script_params={"--epochs": 20},
    framework_version="2.15",  # the last one whose Keras Horovod can train
    # On a cluster: compute_target="...", and MpiConfiguration(process_count_per_node=4, node_count=2).
    distributed_training=MpiConfiguration(process_count_per_node=2),
)
run = Experiment(ws, "horovod").submit(estimator)
run.wait_for_completion(show_output=True)
model = run.register_model("half-moons-horovod", "outputs/model")
print("accuracy {:.4f}, model {}:{}".format(run.get_metrics()["accuracy"], model.name, model.version))
