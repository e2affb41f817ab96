"""Runs that are submitted below another one: by its own script, and by a client."""

from collections.abc import Callable

import pytest

from runyard import ComputeTarget, Experiment, Run, Workspace
from runyard.errors import PermissionDeniedError

Submit = Callable[..., Run]

PARENT = """
import os, sys
from runyard import Environment, Run, ScriptRunConfig
run = Run.get_context()
os.makedirs("child")
with open("child/child.py", "w") as out:
    out.write("import sys\\nprint('child', sys.argv[1])\\n")
environment = Environment("this-python")
environment.python.user_managed_dependencies = True
environment.python.interpreter_path = sys.executable
children = [run.submit_child(ScriptRunConfig("child", "child.py", [n], environment=environment), tags={"n": str(n)})
            for n in range(2)]
for child in children:
    child.wait_for_completion()
    print(child.id, child.get_status(), child.parent.id == run.id)
"""

STRANGER = """
import sys
from runyard import Environment, Experiment, Run, ScriptRunConfig
run = Run.get_context()
environment = Environment("this-python")
environment.python.user_managed_dependencies = True
try:
    Experiment(run.experiment.workspace, "other").submit(ScriptRunConfig(".", "train.py", environment=environment))
except Exception as fault:
    print(type(fault).__name__)
"""


def test_a_script_submits_runs_below_its_own(submit: Submit) -> None:
    run = submit(PARENT)
    run.wait_for_completion()
    children = list(run.get_children())
    assert sorted(child.tags["n"] for child in children) == ["0", "1"]
    said = run._read_log("azureml-logs/70_driver_log.txt").splitlines()
    assert sorted(said) == sorted(f"{child.id} Completed True" for child in children)
    logs = {child._read_log("azureml-logs/70_driver_log.txt") for child in children}
    assert logs == {"child 0\n", "child 1\n"}
    assert children[0].get_details()["submittedBy"] == f"run {run.id}"


def test_a_script_submits_no_other_runs(submit: Submit) -> None:
    run = submit(STRANGER)
    run.wait_for_completion()
    assert run._read_log("azureml-logs/70_driver_log.txt") == f"{PermissionDeniedError.__name__}\n"


def test_a_client_submits_below_an_interactive_run(workspace: Workspace, submit: Submit, tmp_path: object) -> None:
    from runyard import ScriptRunConfig

    submitted = submit("print('first')\n")
    submitted.wait_for_completion()
    environment = submitted.get_environment()
    source = submitted.restore_snapshot(path=str(tmp_path) + "/again")
    with Experiment(workspace, "interactive").start_logging(snapshot_directory=None) as parent:
        child = parent.submit_child(ScriptRunConfig(source, "train.py", environment=environment))
        child.wait_for_completion()
    assert [run.id for run in parent.get_children()] == [child.id]
    assert child._read_log("azureml-logs/70_driver_log.txt") == "first\n"
    found = [run.id for run in Run.list_by_compute(ComputeTarget(workspace, "local"))]
    assert child.id in found


@pytest.mark.parametrize("overrides", [{"inputs": []}])
def test_what_only_estimators_override_is_refused_for_children_too(
    submit: Submit, overrides: dict[str, object]
) -> None:
    from runyard import ScriptRunConfig
    from runyard.errors import UserErrorException

    run = submit("print('first')\n")
    with pytest.raises(UserErrorException, match="overridden at submission for estimators alone"):
        run.submit_child(ScriptRunConfig("."), **overrides)
    run.wait_for_completion()
