"""A client of its own process, to be killed: submits a folder's ``train.py`` and follows the run to its end.

``client.py WORKSPACE SOURCE CONFIG``: CONFIG is JSON. Prints the run's id as its first line.
"""

import json
import sys


def main():
    from runyard import Environment, Experiment, ScriptRunConfig, Workspace

    workspace = Workspace(workspace_name=sys.argv[1])
    given = json.loads(sys.argv[3])
    environment = Environment("for-a-client")
    if given["packages"] is None:
        environment.python.user_managed_dependencies = True
        environment.python.interpreter_path = sys.executable
    else:
        environment.python.conda_dependencies.set_pip_requirements(given["packages"])
    target = workspace.compute_targets[given["target"]] if given["target"] else None
    config = ScriptRunConfig(
        sys.argv[2], "train.py", given["arguments"], compute_target=target, environment=environment
    )
    run = Experiment(workspace, "chaos").submit(config)
    print(run.id, flush=True)
    run.wait_for_completion(show_output=True, raise_on_error=False)


if __name__ == "__main__":
    main()
