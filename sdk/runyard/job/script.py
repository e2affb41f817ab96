"""The user's script as this node runs it: its command, its environment, the files of its output."""

import os
import re
from typing import TYPE_CHECKING, Dict, List, Optional, Tuple

from runyard import mlflow_tracking
from runyard.distributed.topology import Rank, is_alone, log_of, note_of_defaults, rank_defaults, rank_environment
from runyard.job.processes import node_environment
from runyard.notebook_parameters import is_notebook
from runyard.protocol.jobs import JobAssignment

if TYPE_CHECKING:
    from runyard.job.container import Container

_REFERENCE = re.compile(r"\$\{?AZUREML_DATAREFERENCE_(\w+)\}?")


class Script:
    """What every rank of this node has in common, and what differs.

    Args:
        code: the working directory.
        logs: the folder that holds ``azureml-logs/``.
        data: local path of each data reference by name.
        activated: variables that the environment itself sets: see ``conda_prefix``.
        container: what the ranks run in; None for the node itself.
    """

    def __init__(
        self,
        assignment: JobAssignment,
        code: str,
        spool: str,
        logs: str,
        data: Dict[str, str],
        activated: Optional[Dict[str, str]] = None,
        container: "Optional[Container]" = None,
    ) -> None:
        self.code = code
        self.container = container
        self.logs = logs
        self._assignment = assignment
        self._spool = spool
        self._data = data
        self._activated = activated or {}
        self._is_alone = is_alone(assignment.distribution, assignment.node_count)

    def command(self) -> List[str]:
        own = self._assignment
        if own.command:
            return [self._resolved(word) for word in own.command]
        program = ["-m", "runyard.job.notebook"] if is_notebook(own.script) else []
        return [own.python] + program + [own.script or ""] + [self._resolved(word) for word in own.arguments]

    def launch(self, rank: Rank) -> Tuple[List[str], Dict[str, str]]:
        """The command that starts a rank on this node, and its variables: the script's own, or its container's.

        Raises:
            OSError: the disk refuses.
        """
        if self.container is None:
            return self.command(), self.environment(rank)
        command = self.container.launch(rank, self.command(), self.environment(rank), self.output(rank.label))
        return command, dict(os.environ)

    def output_name(self, label: str) -> str:
        """The log, below ``logs``, that holds what a rank prints. ``label``: the rank's."""
        return log_of(label, self._is_alone)

    def output(self, label: str) -> str:
        """Path of that log."""
        return os.path.join(self.logs, *self.output_name(label).split("/"))

    def environment(self, rank: Rank) -> Dict[str, str]:
        """All variables of one rank."""
        return {
            **rank_defaults(self._assignment),
            **self.node_environment(),
            "RUNYARD_RUN_RANK": str(rank.number),
            **rank_environment(self._assignment, rank),
        }

    def note(self) -> Optional[str]:
        """What the log is to say, once for all ranks, of variables that nobody asked for."""
        defaults = rank_defaults(self._assignment)
        if not defaults or defaults.keys() <= self.node_environment().keys():
            return None
        return note_of_defaults(self._assignment)

    def node_environment(self) -> Dict[str, str]:
        """The variables that all ranks of this node share."""
        own = self._assignment
        environment = self._of_the_node() if self.container is None else _of_the_engine()
        environment["PYTHONUNBUFFERED"] = "1"  # a line is seen when it is printed
        environment.update(own.variables)
        paths = [own.sdk_path] + [path for path in [own.variables.get("PYTHONPATH")] if path]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        environment.update(node_environment(own.run_id, own.attempt, own.node, own.gpus))
        environment.update(self._run_variables())
        for name, path in self._data.items():
            environment["AZUREML_DATAREFERENCE_" + name] = path
        if self.container is not None:
            environment.update(self.container.variables())
        return environment

    def _of_the_node(self) -> Dict[str, str]:
        """What a script inherits that runs on the node itself."""
        own = self._assignment
        environment = dict(os.environ)
        environment["PATH"] = bin_folder(own) + os.pathsep + environment.get("PATH", os.defpath)
        if os.path.exists(os.path.join(os.path.dirname(bin_folder(own)), "pyvenv.cfg")):
            environment["VIRTUAL_ENV"] = os.path.dirname(bin_folder(own))
        environment.update(self._activated)
        return environment

    def _resolved(self, word: str) -> str:
        return _REFERENCE.sub(lambda found: self._data.get(found.group(1), found.group(0)), word)

    def _run_variables(self) -> Dict[str, str]:
        own = self._assignment
        said = {
            "AZUREML_RUN_ID": own.run_id,
            "AZUREML_RUN_TOKEN": own.token,
            "AZUREML_SERVICE_ENDPOINT": own.server_url,
            "AZUREML_ARM_SUBSCRIPTION": "local",
            "AZUREML_ARM_RESOURCEGROUP": "local",
            "AZUREML_ARM_WORKSPACE_NAME": own.workspace,
            "AZUREML_ARM_PROJECT_NAME": own.experiment,
            "AZUREML_EXPERIMENT_ID": own.experiment,
            "AZUREML_OUTPUT_DIRECTORY": "./outputs",
            "AZUREML_LOGDIRECTORY_PATH": "./logs",
            "AZUREML_CR_NODE_RANK": str(own.node),
            "RUNYARD_RUN_SPOOL": self._spool,
            "RUNYARD_RUN_ATTEMPT": str(own.attempt),
        }
        resume = self._data.get(own.resume or "")
        if resume is not None and os.path.isdir(resume):
            said["RUNYARD_RESUME_DIR"] = resume
        if own.server_file:
            said["RUNYARD_RUN_SERVER_FILE"] = own.server_file
        if mlflow_tracking.URI not in own.variables:  # else the script is to track elsewhere
            said.update(mlflow_tracking.variables(own.server_url, own.token, own.run_id, own.experiment))
        return said


def _of_the_engine() -> Dict[str, str]:
    """What a script in a container is told of the node: what its engine says of the job. The rest is the image's."""
    return {name: value for name, value in os.environ.items() if name.startswith("SLURM")}


def bin_folder(assignment: JobAssignment) -> str:
    """The folder of the environment's programs on this node."""
    return os.path.dirname(assignment.python)
