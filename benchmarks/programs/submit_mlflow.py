"""Submits with MLflow Projects in the present environment. Arguments: project folder, repetitions."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
from stopwatch import first_lines, report

project, repetitions = sys.argv[1], int(sys.argv[2])
# The project's command says "python": let it be this environment's.
os.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
mlflow.set_tracking_uri("sqlite:///" + str(Path.cwd() / "mlflow.db"))
mlflow.set_experiment("first-line")


def submit(moment: str) -> Callable[[], object]:
    # It waits for the script's end; without, it would start another MLflow first, which takes seconds.
    submitted = mlflow.projects.run(project, parameters={"moment": moment}, env_manager="local")
    return submitted.wait


report(first_lines(submit, Path.cwd(), repetitions))
