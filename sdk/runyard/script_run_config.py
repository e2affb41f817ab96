"""ScriptRunConfig: a script, its arguments, where it runs and in what. What ``Experiment.submit`` takes."""

import os
from typing import Any, List, Optional, Union

from runyard.errors import UserErrorException
from runyard.resuming import resumed_from
from runyard.runconfig import LONGEST_RUN_S, Distributed, RunConfiguration


class ScriptRunConfig:
    """A script and how to run it.

    Args:
        source_directory: directory that holds the script and what it imports; sent as a whole.
        script: path of the entry script in it.
        arguments: list of text, numbers and data references (or one text, split as a shell would).
        run_config: a RunConfiguration to start from; it is copied, and what is given besides it wins.
        compute_target: a compute target or its name; "local" (this machine) by default.
        environment: an Environment; by default a bare Python with what runyard needs.
        distributed_job_config: MpiConfiguration, TensorflowConfiguration or PyTorchConfiguration.
        resume_from: a run, or a place on a datastore, to go on from: the script gets ``--resume-from`` and the folder
            that holds a copy of the run's outputs.
        max_run_duration_seconds: the run is ended after so long (30 days by default).
        command: a command line (text or list) instead of script and arguments.
        docker_runtime_config: options of the container; they count where the environment, or the server, names an image.
        max_attempts: how often the run is tried in all where its node or job is lost or preempted: see
            ``run_config.retry_on`` for further causes. Not in Azure ML.
    Raises:
        UserErrorException: both command and script, or a value of the wrong kind.
    """

    source_directory: str
    script: Optional[str]
    arguments: Union[None, str, List[Any]]
    command: Union[None, str, List[Any]]
    run_config: RunConfiguration
    resume_from: Any

    def __init__(
        self,
        source_directory: Optional[str],
        script: Optional[str] = None,
        arguments: Union[None, str, List[Any]] = None,
        run_config: Optional[RunConfiguration] = None,
        compute_target: Any = None,
        environment: Any = None,
        distributed_job_config: Optional[Distributed] = None,
        resume_from: Any = None,
        max_run_duration_seconds: Optional[int] = LONGEST_RUN_S,
        command: Union[None, str, List[Any]] = None,
        docker_runtime_config: Any = None,
        max_attempts: Optional[int] = None,
    ) -> None:
        if command and (script or arguments):
            raise UserErrorException("Give script and arguments, or command, not both.")
        if command and resume_from is not None:
            raise UserErrorException("resume_from is told to a script; a command has none. Give script and arguments.")
        if run_config is not None and not isinstance(run_config, RunConfiguration):
            raise UserErrorException(
                "run_config is a RunConfiguration; this is a {}.".format(type(run_config).__name__)
            )
        self.source_directory = os.fspath(source_directory) if source_directory is not None else "."
        self.script = script
        self.arguments = arguments
        self.command = command
        self.resume_from = None if resume_from is None else resumed_from(resume_from)
        self.run_config = run_config.copied() if run_config is not None else RunConfiguration()
        if compute_target is not None:
            self.run_config.target = compute_target
        if environment is not None:
            self.run_config.environment = environment
        if docker_runtime_config is not None:
            self.run_config.docker = docker_runtime_config
        if self.run_config.max_run_duration_seconds is None or max_run_duration_seconds != LONGEST_RUN_S:
            self.run_config.max_run_duration_seconds = max_run_duration_seconds
        if max_attempts is not None:
            self.run_config.max_attempts = max_attempts
        if distributed_job_config is not None:
            self.run_config.distribute(distributed_job_config)
            self.run_config.node_count = _node_count(distributed_job_config, self.run_config.target)

    def with_overrides(self, **overrides: Any) -> "ScriptRunConfig":
        """Refused: only estimators are submitted with overrides.

        Raises:
            UserErrorException: always; says how to change this one.
        """
        raise UserErrorException(
            "{} can be overridden at submission for estimators alone. Change the ScriptRunConfig itself: its "
            "arguments, or run_config.inputs.".format(" and ".join(sorted(overrides)))
        )


def _node_count(distributed: Distributed, target: str) -> int:
    """Azure counts TensorFlow's nodes by its workers: a parameter server shares a worker's node."""
    named = getattr(distributed, "node_count", None)
    if named is not None:
        return int(named)
    return 1 if target == "local" else max(1, getattr(distributed, "worker_count", 1))
