"""An interactive run in a process of its own, to be killed: ``interactive.py WORKSPACE WITNESS``.

Prints the run's id, logs, and stands at the gate "here".
"""

import sys

from runyard import Experiment, Workspace
from tests.chaos.judge.witness import Witness


def main() -> None:
    experiment = Experiment(Workspace(workspace_name=sys.argv[1]), "interactive")
    run = experiment.start_logging(snapshot_directory=None)
    print(run.id, flush=True)
    witness = Witness(sys.argv[2], run)
    witness.points(2000)
    witness.points(500, "others")
    witness.wait("here")


if __name__ == "__main__":
    main()
