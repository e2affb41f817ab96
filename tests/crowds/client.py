"""One client of a crowd, a process of its own: ``client.py WHAT WORKSPACE JSON``.

It opens the workspace, says "ready", begins when it is told to (a line on stdin) so that all of the crowd begin at
once, and prints what it saw as JSON.
"""

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from runyard import Environment, Experiment, Run, ScriptRunConfig, Workspace
from runyard.following import events


def this_python():
    environment = Environment("this-python")
    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = sys.executable
    return environment


def submit(workspace, source, target, count, name):
    """Submits ``count`` runs one after the other: ids in the order in which they were taken."""
    config = ScriptRunConfig(source, "train.py", compute_target=target, environment=this_python())
    experiment = Experiment(workspace, "crowd")
    return [experiment.submit(config, tags={"client": name}).id for _ in range(count)]


def log_metrics(workspace, runs, points):
    """Logs to ``runs`` interactive runs at once, a thread each: their ids."""

    def one(_):
        run = Experiment(workspace, "crowd").start_logging(snapshot_directory=None)
        for number in range(points):
            run.log("number", number)
            run.log("square", float(number) ** 2)
        run.complete()
        return run.id

    with ThreadPoolExecutor(runs) as pool:
        return list(pool.map(one, range(runs)))


def follow(workspace, run_id, log, followers):
    """Follows a run's log from ``followers`` threads: the text that each saw, and what was said of its end."""

    def one(_):
        text, statuses = [], []
        for kind, said in events(Run(Experiment(workspace, "crowd"), run_id), logs=True):
            if kind == "log" and said["name"] == log:
                text.append(said["text"])
            elif kind == "status":
                statuses.append(said["status"])
        return ["".join(text), statuses[-1]]

    with ThreadPoolExecutor(followers) as pool:
        return list(pool.map(one, range(followers)))


def ask(workspace, times):
    """Asks for the newest run ``times`` times: how many answers came."""
    return sum(len(workspace.transport.call("GET", "/runs", query={"limit": 1})) == 1 for _ in range(times))


def main():
    what, name, arguments = sys.argv[1:]
    workspace = Workspace.get(name)
    workspace.transport.call("GET", "/workspace")
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.readline()
    begun = time.time()
    saw = {"submit": submit, "log_metrics": log_metrics, "follow": follow, "ask": ask}[what](
        workspace, **json.loads(arguments)
    )
    print(json.dumps({"saw": saw, "seconds": time.time() - begun}), flush=True)


def end_with_parent(parent):
    """A crowd does not outlive the test that called it, however that ended."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    main()
