"""Run: one submitted or interactive run, seen from a client or from inside its own script."""

import json
import os
import time
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Sequence, Tuple

from runyard.absent import answering
from runyard.errors import (
    ActivityFailedException,
    FileNotInRunError,
    RunEnvironmentException,
    ServerUnavailableError,
    SnapshotException,
    UserErrorException,
)
from runyard.metric_logging import MetricLogging
from runyard.notices import not_used, unless
from runyard.protocol.status import RunStatus
from runyard.transport.base import Transport, url_path

if TYPE_CHECKING:
    from runyard.environment import Environment
    from runyard.experiment import Experiment
    from runyard.input_datasets import InputDatasets
    from runyard.interactive import Session
    from runyard.model import Model
    from runyard.resuming import RunOutputs
    from runyard.workspace import Workspace


@answering("azureml.core.Run")
class Run(MetricLogging):
    """A run of an experiment.

    From ``Experiment.submit`` or ``Run.get`` it is a view of what the server knows. From
    ``Run.get_context()`` in a script, or from ``start_logging``, it also takes what is logged: that
    goes to a local spool in microseconds and is delivered beside the script.
    """

    def __init__(
        self,
        experiment: "Experiment",
        run_id: str,
        outputs: Optional[str] = None,
        _said: Optional[Dict[str, Any]] = None,
        _transport: Optional[Transport] = None,
        _session: Optional["Session"] = None,
        **azure: Any,
    ) -> None:
        self._experiment = experiment
        self._id = run_id
        self._known = _said
        self._own_transport = _transport
        self._session = _session
        self._local_tags: Dict[str, str] = {}

    # Finding runs

    @classmethod
    def get_context(cls, allow_offline: bool = True, used_for_context_manager: bool = False, **azure: Any) -> Any:
        """The run that this script is part of; outside a job an offline run that prints what it is told.

        Raises:
            RunEnvironmentException: outside a job with ``allow_offline=False``.
        """
        from runyard.context import current_run

        not_used("Run.get_context", azure, "the run of this process has no such setting.")
        return current_run(allow_offline)

    @classmethod
    def get_submitted_run(cls, **azure: Any) -> Any:
        """As ``get_context``: the older name."""
        return cls.get_context(**azure)

    @staticmethod
    def get(workspace: "Workspace", run_id: str) -> "Run":
        """The run of that id.

        Raises:
            UnknownRunError: there is none.
        """
        from runyard.experiment import Experiment

        said = workspace.transport.call("GET", url_path("runs", run_id))
        return Run(Experiment(workspace, said["experiment"]), run_id, _said=said)

    @staticmethod
    def list(
        experiment: "Experiment",
        type: Optional[str] = None,
        tags: Any = None,
        properties: Any = None,
        status: Optional[str] = None,
        include_children: bool = False,
        _rehydrate_runs: bool = True,
        view_type: Any = "ActiveOnly",
    ) -> Iterator["Run"]:
        """Runs of an experiment, newest first; archived ones where ``view_type`` is "ArchivedOnly" or "All"."""
        return experiment.get_runs(type, tags, properties, include_children, status, view_type)

    @staticmethod
    def list_by_compute(
        compute: Any, type: Optional[str] = None, tags: Any = None, properties: Any = None, status: Optional[str] = None
    ) -> Iterator["Run"]:
        """Runs of a compute target, newest first, whatever their experiment."""
        return list_runs(
            compute.workspace,
            None,
            target=compute.name,
            type=type,
            tags=tags,
            properties=properties,
            status=status,
            include_children=True,
        )

    # What it is

    @property
    def id(self) -> str:  # type: ignore[override]
        return self._id

    @property
    def number(self) -> int:
        return int(self._record()["number"])

    @property
    def experiment(self) -> "Experiment":
        return self._experiment

    @property
    def type(self) -> str:
        return str(self._record()["type"])

    @property
    def name(self) -> Optional[str]:
        return self.display_name

    @property
    def display_name(self) -> Optional[str]:
        return self._record().get("display_name")

    @display_name.setter
    def display_name(self, name: str) -> None:
        self._change(display_name=name)

    @property
    def description(self) -> Optional[str]:
        return self._record().get("description")

    @description.setter
    def description(self, text: str) -> None:
        self._change(description=text)

    @property
    def parent(self) -> Optional["Run"]:
        parent_id = self._record().get("parent_id")
        return None if parent_id is None else Run.get(self._experiment.workspace, parent_id)

    @property
    def status(self) -> str:
        """Its status when last looked at; ``get_status()`` looks again."""
        return str(self._record()["status"])

    def get_status(self) -> str:
        """Its status now: NotStarted, Starting, Preparing, Queued, Running, Finalizing, Completed, Failed, Canceled..."""
        if self._known is None or not RunStatus(self._known["status"]).is_terminal:
            self._refresh()
        return self.status

    def get_details(self) -> Dict[str, Any]:
        """Everything about the run, under Azure's keys (runId, target, status, startTimeUtc, error, runDefinition...).

        While it goes on, ``ranks`` says of each of its processes whether it runs and when it last printed something.
        """
        from runyard.run_details import details

        record = self._refresh()
        spec = record.get("spec") or {}
        goes_on = spec and not RunStatus(record["status"]).is_terminal
        ranks = self._call("GET", "ranks") if goes_on else ()
        kept = []
        if spec.get("output_datasets"):
            from runyard.dataset_registration import of_run

            kept = of_run(self._transport, self.id)
        return details(record, {name: _log_address(record, name) for name in self._log_names()}, ranks, kept)

    def get_details_with_logs(self) -> Dict[str, Any]:
        """``get_details`` with each log's text in the place of its address."""
        found = self.get_details()
        found["logFiles"] = {name: self._read_log(name) for name in found["logFiles"]}
        return found

    def get_detailed_status(self) -> Dict[str, Any]:
        """``{"status", "since", "details", "position"}``: the status, and what the run waits for or how it ended."""
        said = self._call("GET", "why")
        return {
            "status": said["status"],
            "since": said.get("since"),
            "details": said["reason"],
            "position": said["position"],
        }

    def get_portal_url(self) -> str:
        """Address of the run's page; it opens in a browser without a login, for a week."""
        return str(self._refresh()["portal_url"])

    def get_environment(self) -> "Environment":
        """The environment that the run was submitted with."""
        from runyard.environment import Environment
        from runyard.protocol.codec import from_json
        from runyard.protocol.environments import EnvironmentRecord, EnvironmentSpec

        spec = self._spec()["environment"]
        record = EnvironmentRecord(
            spec.get("name") or self.id, spec.get("version") or "", from_json(EnvironmentSpec, spec), 0.0
        )
        return Environment.from_record(record)

    @property
    def input_datasets(self) -> "InputDatasets":
        """In a run's script: name of each dataset it was given to its path on this node, or to itself if it is a table."""
        from runyard.dataset_registration import by_id
        from runyard.input_datasets import InputDatasets

        def uses() -> Any:
            return (self._record().get("spec") or {}).get("input_datasets") or []

        return InputDatasets(uses, lambda dataset_id: by_id(self._experiment.workspace, dataset_id))

    # Following and ending

    def wait_for_completion(
        self, show_output: bool = False, wait_post_processing: bool = False, raise_on_error: bool = True
    ) -> Dict[str, Any]:
        """Waits for the run's end; with ``show_output`` its logs are printed as they are written.

        Returns:
            ``get_details()``.
        Raises:
            ActivityFailedException: the run failed and ``raise_on_error`` is True; its message is the
                JSON of ``error``.
        """
        from runyard.following import wait

        self._known = wait(self, show_output)
        found = self.get_details()
        if raise_on_error and found["status"] == RunStatus.FAILED.value:
            raise ActivityFailedException(
                "Activity Failed:\n" + json.dumps(found.get("error"), indent=4), {"error": found.get("error")}
            )
        return found

    def get_stacks(self, timeout_seconds: float = 30) -> Dict[str, str]:
        """Where each of the run's processes is in its code just now: the Python stack of every rank, by rank.

        The run goes on meanwhile. The stacks are kept among its logs, below ``azureml-logs/stacks/``. A rank that
        gives no answer in time is not among them.

        Raises:
            RunException: the run is not Running, or interactive.
        """
        from runyard.stacks import take

        return take(self, timeout_seconds)

    def cancel(self) -> None:
        """Asks for the run's end: its script gets SIGTERM, some time to save, then SIGKILL."""
        self._known = self._call("POST", "cancel")

    def complete(self, _set_status: bool = True) -> None:
        """Ends an interactive run well: what was logged is delivered first."""
        self._finish("complete", None)

    def fail(self, error_details: Any = None, error_code: Any = None, _set_status: bool = True) -> None:
        """Ends an interactive run badly; a submitted run that calls it fails when its script ends."""
        message = error_details if isinstance(error_details, str) else json.dumps(error_details, default=str)
        code = str(error_code) if error_code else "ended_by_caller"
        self._finish(
            "fail", {"code": code, "message": message if error_details is not None else "failed by its script"}
        )

    def start(self) -> None:
        """Interactive runs are Running from the start; kept for scripts that call it."""

    def flush(self, timeout_seconds: float = 300) -> None:
        """Waits until everything logged so far is stored; gives up silently after the time, as delivery goes on."""
        if self._session is not None:
            self._session.flush(timeout_seconds)

    def clean(self) -> None:
        """Nothing is left on the compute target after a run; kept for scripts that call it."""

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if self._session is None:
            return
        if kind is None:
            self.complete()
        else:
            self.fail("{}: {}".format(kind.__name__, value), error_code="script_failed")

    # Tags and properties

    @property
    def tags(self) -> Dict[str, str]:
        return self.get_tags()

    def get_tags(self) -> Dict[str, str]:
        """The run's tags now."""
        return dict(self._refresh()["tags"], **self._local_tags)

    def tag(self, key: str, value: Optional[str] = None) -> None:
        """Sets a tag. From inside a run it is delivered beside the script, as metrics are."""
        self.set_tags({key: value if value is not None else ""})

    def set_tags(self, tags: Dict[str, Any]) -> None:
        """Sets several tags."""
        from runyard.names import checked_pairs

        said = checked_pairs(tags)
        if self._session is not None:
            for key, value in said.items():
                self._session.spool.tag(key, value)
            self._local_tags.update(said)
        else:
            self._change(tags=said)

    def remove_tags(self, tags: Sequence[str]) -> None:
        """Removes tags by key."""
        for key in tags:
            self._local_tags.pop(key, None)
        self.flush(10)
        self._change(remove_tags=[tags] if isinstance(tags, str) else list(tags))

    @property
    def properties(self) -> Dict[str, str]:
        return self.get_properties()

    def get_properties(self) -> Dict[str, str]:
        """The run's properties now."""
        return dict(self._refresh()["properties"])

    def add_properties(self, properties: Dict[str, Any]) -> None:
        """Adds properties; each is written once.

        Raises:
            RunException: one is there already with another value.
        """
        from runyard.names import checked_pairs

        self._change(properties=checked_pairs(properties, "property"))

    # Children

    def child_run(
        self, name: Optional[str] = None, run_id: Optional[str] = None, outputs: Optional[str] = None
    ) -> "Run":
        """Starts an interactive run below this one; ``complete()`` it, or use ``with``."""
        from runyard.interactive import begin

        return begin(self._experiment, parent=self, run_id=run_id, display_name=name, outputs=outputs)

    def create_children(
        self, count: Optional[int] = None, tag_key: Optional[str] = None, tag_values: Optional[Sequence[Any]] = None
    ) -> List["Run"]:
        """Starts several child runs: ``count`` of them, or one per tag value."""
        if count is None and tag_values is None:
            raise UserErrorException("create_children needs count, or tag_key and tag_values.")
        if (tag_key is None) != (tag_values is None):
            raise UserErrorException("tag_key and tag_values belong together.")
        if tag_values is not None and count not in (None, len(tag_values)):
            raise UserErrorException("count is {}, but there are {} tag_values.".format(count, len(tag_values)))
        children = []
        for position in range(len(tag_values) if tag_values is not None else count or 0):
            child = self.child_run()
            if tag_key is not None and tag_values is not None:
                child.tag(tag_key, str(tag_values[position]))
            children.append(child)
        return children

    def submit_child(self, config: Any, tags: Optional[Dict[str, str]] = None, **overrides: Any) -> "Run":
        """Submits a run of a script below this one: from a client, or from this run's own script.

        The child waits for its own nodes, and this run keeps those that it has. When this run is cancelled, so are its
        children. A script follows and reads the children that it submitted, through what this returns.

        Args, raises:
            As ``Experiment.submit``.
        """
        path = url_path("runs", self.id, "children")
        said = self._experiment.submit_at(self._transport, path, config, tags, overrides)
        # A script's own token is good for its run alone: what it does with the child, it does with the child's.
        own = None if self._own_transport is None else self._experiment.workspace.with_token(said["token"])
        return Run(self._experiment, said["run"]["id"], _said=said["run"], _transport=own)

    def get_children(
        self,
        recursive: bool = False,
        tags: Any = None,
        properties: Any = None,
        type: Optional[str] = None,
        status: Optional[str] = None,
        _rehydrate_runs: bool = True,
    ) -> Iterator["Run"]:
        """Child runs, newest first; with ``recursive`` theirs too."""
        found = list_runs(
            self._experiment.workspace,
            self._experiment,
            parent=self.id,
            type=type,
            status=status,
            tags=tags,
            properties=properties,
        )
        for child in found:
            yield child
            if recursive:
                yield from child.get_children(True, tags, properties, type, status)

    # Metrics

    def get_metrics(
        self,
        name: Optional[str] = None,
        recursive: bool = False,
        run_type: Optional[str] = None,
        populate: bool = False,
    ) -> Dict[str, Any]:
        """What was logged, by name: a value, a list once logged again, a dict of columns for rows and tables.

        Args:
            name: one metric alone.
            recursive: also of child runs: run id to metrics.
            run_type: with ``recursive``: only of children of that type.
            populate: gives an image's bytes in the place of its location.
        """
        import sys

        self.flush(10)
        query = {"name": name, "recursive": "true" if recursive else None, "run_type": run_type}
        said = self._transport.call("GET", url_path("runs", self.id, "metrics"), query=query)
        for warning in said.get("warnings", []):
            sys.stderr.write("runyard: {}\n".format(warning))
        metrics: Dict[str, Any] = said["metrics"]
        if populate:
            from runyard.run_details import populated

            metrics = populated(metrics, self._read_file)
        return metrics

    def get_system_metrics(self) -> Dict[int, Dict[str, Dict[str, List[float]]]]:
        """What was measured of the run's nodes: node to measure to its ``times`` (since the epoch) and ``values``.

        Measures are ``cpu_percent``, ``memory_bytes``, ``memory_percent``, ``disk_bytes``, ``disk_percent``,
        ``disk_read_bytes_per_s``, ``disk_written_bytes_per_s``, ``network_received_bytes_per_s``,
        ``network_sent_bytes_per_s``, and of each GPU of the run ``gpu0_percent``, ``gpu0_memory_bytes``,
        ``gpu0_memory_percent``. They are no metrics of the script: ``get_metrics()`` does not have them.
        """
        from runyard.protocol.system_metrics import parts_of

        found: Dict[int, Dict[str, Dict[str, List[float]]]] = {}
        history = url_path("runs", self.id, "metrics", "history")
        path, after = url_path("runs", self.id, "metrics", "summaries"), None
        while True:
            query = {"system": "true", "after": after, "limit": "1000"}
            page = self._transport.call("GET", path, query=query)
            for metric in page["metrics"]:
                node, what = parts_of(metric["name"])
                said = self._transport.call("GET", history, query={"name": metric["name"]})
                found.setdefault(node, {})[what] = {"times": said["times"], "values": said["values"]}
            after = page["next"]
            if after is None:
                return found

    def import_tensorboard(self) -> Dict[str, Any]:
        """Takes the numbers in the event files that the run has written into its metrics, each of them once.

        A tag is a metric of that name, with its steps and times; that of a file in ``logs/train`` is ``train/<tag>``. What
        the run has logged itself under such a name stays as it is. Not in Azure ML.

        Returns:
            ``{"files", "points", "metrics", "warnings"}``: how many event files there are and how many numbers were
            new, which metrics have got some, and what could not be taken.
        """
        from runyard.tensorboard_import import take

        return take(self)

    # Files

    def _get_outputs_datapath(self) -> "RunOutputs":
        """The run's outputs, for ``resume_from`` of another one. Azure's notebooks call it by this name."""
        from runyard.resuming import RunOutputs

        return RunOutputs(self.id)

    def get_file_names(self) -> List[str]:
        """Names of everything that the run keeps: outputs, logs, uploads."""
        from runyard.run_files import kept_by

        return kept_by(self).names

    def upload_file(self, name: str, path_or_stream: Any, datastore_name: Optional[str] = None) -> None:
        """Stores a local file, or what a stream holds, with the run as ``name``.

        Raises:
            RunException: the run has that name already with other bytes.
        """
        from runyard.run_files import as_local_file

        not_used("Run.upload_file", {"datastore_name": datastore_name}, _OWN_FILES)
        with as_local_file(path_or_stream) as path:
            self._upload([(name, path)])

    def upload_files(
        self,
        names: Sequence[str],
        paths: Sequence[str],
        return_artifacts: bool = False,
        timeout_seconds: Optional[int] = None,
        datastore_name: Optional[str] = None,
    ) -> None:
        """Stores several local files: all of them, or none."""
        asked = {"datastore_name": datastore_name, "timeout_seconds": timeout_seconds}
        not_used("Run.upload_files", dict(asked, return_artifacts=unless(False, return_artifacts)), _OWN_FILES)
        if len(names) != len(paths):
            raise UserErrorException("{} names do not fit {} paths.".format(len(names), len(paths)))
        self._upload(list(zip(names, paths)))

    def upload_folder(self, name: str, path: str, datastore_name: Optional[str] = None) -> None:
        """Stores a local folder's files below ``name``."""
        from runyard.run_files import files_below

        not_used("Run.upload_folder", {"datastore_name": datastore_name}, _OWN_FILES)
        self._upload(
            [("/".join(part for part in (name.strip("/"), below) if part), file) for below, file in files_below(path)]
        )

    def download_file(
        self, name: str, output_file_path: Optional[str] = None, _validate_checksum: bool = False
    ) -> None:
        """Writes one of the run's files to this machine; its digest is always checked.

        Args:
            output_file_path: a file, or a folder to put it in; default: its own name, here.
        Raises:
            FileNotInRunError: the run has no such file; names those that it has.
        """
        from runyard.run_files import download, kept_by

        target = output_file_path or os.path.basename(name)
        if os.path.isdir(target) or target.endswith(os.sep):
            target = os.path.join(target, os.path.basename(name))
        kept = kept_by(self)
        if download(self, kept, {name: target}) == 0:
            if self._refresh().get("files_removed_at") is not None:
                raise FileNotInRunError(
                    "Run {} has no file '{}' any more: a retention rule removed its files.".format(self.id, name)
                )
            raise FileNotInRunError(
                "Run {} has no file '{}'. It has: {}.".format(self.id, name, ", ".join(kept.names[:20]) or "none")
            )

    def download_files(
        self,
        prefix: Optional[str] = None,
        output_directory: Optional[str] = None,
        output_paths: Optional[Sequence[str]] = None,
        batch_size: int = 100,
        append_prefix: bool = True,
        timeout_seconds: Optional[int] = None,
    ) -> None:
        """Writes the run's files below ``prefix`` to this machine.

        Args:
            append_prefix: whether the prefix stays part of the local paths.
            output_paths: local paths in the place of their own, one per file.
        """
        from runyard.run_files import download, kept_by, targets

        asked = {"timeout_seconds": timeout_seconds, "batch_size": unless(100, batch_size)}
        not_used("Run.download_files", asked, "files come as fast as they can, in packs of bounded size.")
        kept = kept_by(self)
        download(self, kept, targets(kept.names, prefix, output_directory, output_paths, append_prefix))

    def get_all_logs(self, destination: Optional[str] = None) -> List[str]:
        """Writes every log to ``destination`` (default: here) and gives the local paths."""
        from runyard.run_files import download, kept_by, targets

        kept = kept_by(self)
        wanted = targets(kept.logs, None, destination, None, True)
        download(self, kept, wanted)
        return sorted(wanted.values())

    # Code and models

    def get_snapshot_id(self) -> Optional[str]:
        """Id of the code that ran; None for an interactive run whose code was not kept."""
        found: Optional[str] = self._record()["snapshot"]
        return found

    def restore_snapshot(self, snapshot_id: Optional[str] = None, path: Optional[str] = None) -> str:
        """Writes the code that ran to ``path`` (default: a folder named by the snapshot) and gives that path.

        Raises:
            SnapshotException: no code was kept with this run, and ``snapshot_id`` names none.
        """
        from runyard.transfer import fetch_snapshot

        wanted = snapshot_id or self.get_snapshot_id()
        if wanted is None:
            raise SnapshotException(
                "No code was kept with run {}. start_logging(snapshot_directory='.') keeps it.".format(self.id)
            )
        target = path or wanted
        fetch_snapshot(self._transport, wanted, target)
        return os.path.abspath(target)

    def rerun(self) -> "Run":
        """Submits the same code, lock, data and arguments again, as a new run."""
        path = url_path("runs", self.id, "rerun")
        said = self._transport.call("POST", path, query={"new_id": new_run_id(self._experiment.name)})
        return Run(self._experiment, said["id"], _said=said)

    def archive(self) -> None:
        """Hides the run from lists; nothing of it is removed."""
        self._change(archived=True)

    def restore(self) -> None:
        """Brings an archived run back into lists."""
        self._change(archived=False)

    def delete(self, keep_models: bool = False, with_logged_models: bool = False) -> List[str]:
        """Deletes the run, which must have ended, and all runs below it, for good.

        Args:
            keep_models: lets models that were registered from it stay, without the run; otherwise they keep it.
            with_logged_models: lets models that were logged with MLflow go with it; otherwise they keep it.
        Returns:
            The ids of the runs that are gone. They are never used again.
        Raises:
            RunException: it goes on, or models or other runs need it; says which.
        """
        said_of = {"keep_models": keep_models, "with_logged_models": with_logged_models}
        query = {name: "true" if yes else "false" for name, yes in said_of.items()}
        said = self._transport.call("DELETE", url_path("runs", self.id), query=query)
        return [gone["id"] for gone in said]

    def verify(self) -> Dict[str, Any]:
        """The proof that what was written is what is stored.

        Returns:
            ``{"ok": bool, "streams": [{"name", "written", "stored", "records"}], "files": {"count",
            "damaged"}}``, sizes in bytes.
        """
        self.flush(10)
        found: Dict[str, Any] = self._call("GET", "verify")
        return found

    def register_model(
        self,
        model_name: str,
        model_path: Optional[str] = None,
        tags: Optional[Dict[str, str]] = None,
        properties: Optional[Dict[str, str]] = None,
        model_framework: Optional[str] = None,
        model_framework_version: Optional[str] = None,
        description: Optional[str] = None,
        datasets: Any = None,
        sample_input_dataset: Any = None,
        sample_output_dataset: Any = None,
        resource_configuration: Any = None,
        **azure: Any,
    ) -> "Model":
        """Registers files of this run as the next version of a model.

        Args:
            model_path: a file or folder among the run's files (``outputs/model``); default: the model's name.
        Raises:
            ModelPathNotFoundException: the run has nothing there; names what ``outputs/`` holds.
        """
        from runyard.model import Model

        not_used("Run.register_model", azure, "models here have no such setting.")
        return Model.register_from_run(
            self._experiment.workspace,
            self.id,
            model_name,
            model_path,
            tags=tags,
            properties=properties,
            model_framework=model_framework,
            model_framework_version=model_framework_version,
            description=description,
            datasets=datasets,
            sample_input_dataset=sample_input_dataset,
            sample_output_dataset=sample_output_dataset,
            resource_configuration=resource_configuration,
        )

    # Inside

    @property
    def _metric_spool(self) -> Any:  # type: ignore[override]
        if self._session is None:  # a client that logs to a run it submitted
            from runyard.interactive import attach

            self._session = attach(self)
        return self._session.spool

    @property
    def _transport(self) -> Transport:
        return self._own_transport or self._experiment.workspace.transport

    def _call(self, method: str, verb: str, json_: Any = None) -> Any:
        return self._transport.call(method, url_path("runs", self.id, verb), json=json_)

    def _refresh(self) -> Dict[str, Any]:
        self._known = self._transport.call("GET", url_path("runs", self.id))
        assert self._known is not None
        return self._known

    def _record(self) -> Dict[str, Any]:
        return self._known if self._known is not None else self._refresh()

    def _spec(self) -> Dict[str, Any]:
        spec = self._record().get("spec") or self._refresh().get("spec")
        if spec is None:
            raise RunEnvironmentException(
                "Run {} was interactive: it has no script and no environment.".format(self.id)
            )
        return dict(spec)

    def _change(self, **changes: Any) -> None:
        self._known = self._transport.call("PATCH", url_path("runs", self.id), json=changes)

    def _finish(self, verb: str, error: Optional[Dict[str, Any]]) -> None:
        if self._session is not None:
            self._session.finish(self)
        self._known = self._call("POST", verb, error)
        if self._session is not None:
            self._session.close()

    def _upload(self, files: Sequence[Any]) -> None:
        from runyard.transfer import upload_run_files

        try:
            upload_run_files(self._transport, self.id, files)
        except ServerUnavailableError:
            if self._session is None:
                raise
            self._session.set_aside(files)  # delivered when the server is back: training goes on

    def _add_file(self, run_path: str, local_path: str) -> None:
        self._upload([(run_path, local_path)])

    def _log_names(self) -> List[str]:
        return [entry["name"] for entry in self._call("GET", "logs")]

    def _read_log(self, name: str) -> str:
        from runyard.run_files import log_pieces

        return b"".join(log_pieces(self, name)).decode("utf-8", "replace")

    def _read_file(self, name: str) -> bytes:
        with self._transport.request("GET", url_path("runs", self.id, "files", name)) as answer:
            return answer.whole()

    def _repr_html_(self) -> str:
        from runyard.notebook.cards import card

        record = self._record()
        if "portal_url" not in record:  # a submission's answer has none
            record = self._refresh()
        return card(
            [
                ("Experiment", self._experiment.name),
                ("Id", self.id),
                ("Type", record["type"]),
                ("Status", record["status"]),
                ("Details Page", record.get("portal_url")),
            ]
        )

    def __repr__(self) -> str:
        status = self._known["status"] if self._known else "not looked at"
        return "Run(Experiment: {}, Id: {}, Status: {})".format(self._experiment.name, self.id, status)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)


_OWN_FILES = "the workspace's server keeps a run's files with the run, and waits for as long as it takes."


def _log_address(record: Dict[str, Any], name: str) -> str:
    """Where a browser shows the log: the run's page with that log open."""
    from urllib.parse import quote

    return "{}&log={}".format(record["portal_url"], quote(name))


def new_run_id(experiment: str) -> str:
    """An id that no other run has: the experiment, the time in seconds since the epoch, eight letters."""
    return "{}_{}_{}".format(experiment, int(time.time()), os.urandom(4).hex())


def search_runs(
    workspace: "Workspace",
    filter: str = "",
    order_by: str = "",
    limit: Optional[int] = None,
    columns: Sequence[str] = (),
    **wanted: Any,
) -> Iterator[Tuple[Run, List[Any]]]:
    """Runs that a filter holds for, each with what the columns say of it; read a page at a time."""
    from runyard.experiment import Experiment

    query = {"filter": filter, "sort": order_by, "column": list(columns)}
    query.update({key: value for key, value in wanted.items() if value is not None})
    missing = limit
    while missing is None or missing > 0:
        page_size = 100 if missing is None else min(missing, 100)
        page = workspace.transport.call("GET", "/run-table", query=dict(query, limit=page_size))
        for said, values in zip(page["runs"], page["values"]):
            yield Run(Experiment(workspace, said["experiment"]), said["id"], _said=said), values
        missing = None if missing is None else missing - len(page["runs"])
        if page["next"] is None:
            return
        query["after"] = page["next"]


def list_runs(workspace: "Workspace", home: Optional["Experiment"], **wanted: Any) -> Iterator[Run]:
    """Runs that match, newest first, read a page at a time; ``home`` is their experiment where it is known."""
    from runyard.experiment import Experiment, pairs, view_of

    query = {key: value for key, value in wanted.items() if value is not None}
    if "view_type" in query:
        query["view"] = view_of(query.pop("view_type"))
    for key in ("tags", "properties"):
        if key in query:
            query[key] = json.dumps(pairs(query[key]))
    if "include_children" in query:
        query["include_children"] = "true" if query["include_children"] else "false"
    page_size = 100
    while True:
        page = workspace.transport.call("GET", "/runs", query=dict(query, limit=page_size))
        for said in page:
            yield Run(home or Experiment(workspace, said["experiment"]), said["id"], _said=said)
        if len(page) < page_size:
            return
        query["before"] = page[-1]["id"]
