"""Runs train.py on two processes of this machine and registers the model."""

import os

from runyard import Environment, Experiment, ScriptRunConfig, Workspace
from runyard.runconfig import PyTorchConfiguration

ws = Workspace.from_config()

environment = Environment("torch")
environment.python.conda_dependencies.set_python_version("3.11")
environment.python.conda_dependencies.add_pip_package("torch==2.13.0")
environment.python.conda_dependencies.add_pip_package("numpy")

config = ScriptRunConfig(
    source_directory=os.path.dirname(os.path.abspath(__file__)),
    script="train.py",
    arguments=["--epochs", 10],
    environment=environment,
    # On a cluster: compute_target="...", and PyTorchConfiguration("Nccl", process_count=8, node_count=2).
    distributed_job_config=PyTorchConfiguration("Gloo", process_count=2),
)
run = Experiment(ws, "torch-ddp").submit(config)
run.wait_for_completion(show_output=True)
model = run.register_model("half-moons-torch", "outputs/model.pt")
print("accuracy {:.4f}, model {}:{}".format(run.get_metrics()["accuracy"], model.name, model.version))
