"""Experiment: a named collection of runs, and the place where a run begins: ``submit``."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Set

from runyard.absent import answering
from runyard.errors import SnapshotException
from runyard.names import check_experiment_name
from runyard.notices import not_used
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.experiments import ExperimentRecord
from runyard.protocol.runs import RunSpec
from runyard.run import Run, new_run_id
from runyard.transport.base import Transport, url_path

if TYPE_CHECKING:
    from runyard.workspace import Workspace


class ViewType:
    """Which experiments ``Experiment.list`` gives."""

    ActiveOnly = "ActiveOnly"
    ArchivedOnly = "ArchivedOnly"
    All = "All"


@answering("azureml.core.Experiment")
class Experiment:
    """A collection of runs in a workspace; made at its first use.

    Args:
        name: letters, digits, ``_`` and ``-``, beginning with a letter or digit.
    Raises:
        ExperimentException: the name is against the rules.
    """

    def __init__(
        self, workspace: "Workspace", name: str, _record: Optional[ExperimentRecord] = None, **azure: Any
    ) -> None:
        not_used("Experiment", azure, "an experiment here has no such setting.")
        self._workspace = workspace
        self._name = check_experiment_name(name)
        self._known = _record
        self._sent: Set[str] = set()  # snapshots that the server has from us: they need not be asked about again

    # Runs

    def submit(self, config: Any, tags: Optional[Dict[str, str]] = None, **overrides: Any) -> Run:
        """Sends the code and submits a run of it; returns as soon as the run has an id.

        Args:
            config: ScriptRunConfig, or an estimator (Estimator, TensorFlow, PyTorch, SKLearn, Chainer).
            tags: of the run.
            overrides: ``script_params``, ``inputs`` or ``source_directory_data_store`` of an estimator,
                for this run alone.
        Raises:
            UserErrorException: what was asked for cannot be run; says what can.
        """
        said = self.submit_at(self._workspace.transport, "/runs", config, tags, overrides)
        return Run(self, said["id"], _said=said)

    def submit_at(
        self, transport: Transport, path: str, config: Any, tags: Optional[Dict[str, str]], overrides: Dict[str, Any]
    ) -> Any:
        """As ``submit``, by way of a transport to a route that takes a run's spec; gives the route's answer."""
        if overrides:
            config = config.with_overrides(**overrides)
        # Named here: a request whose answer was lost is sent again, and must not make a second run.
        run_id = new_run_id(self.name)
        try:
            return _submitted(transport, path, sent_spec(self, config, tags, self._sent), run_id)
        except SnapshotException:
            if not self._sent:
                raise
            self._sent.clear()  # the server may be another one by now, in a new home at the old address
            return _submitted(transport, path, sent_spec(self, config, tags, self._sent), run_id)

    def start_logging(
        self,
        outputs: Optional[str] = None,
        snapshot_directory: Optional[str] = ".",
        display_name: Optional[str] = None,
        tags: Optional[Dict[str, str]] = None,
        **azure: Any,
    ) -> Run:
        """Starts a run whose process this one is; log to it, then ``complete()`` it (or use ``with``).

        Args:
            outputs: a folder that is uploaded when the run ends.
            snapshot_directory: the code to keep with the run; None for none.
        """
        from runyard import transfer
        from runyard.interactive import begin

        not_used("Experiment.start_logging", azure, "a run here has no such setting.")
        snapshot = None
        if snapshot_directory is not None:
            snapshot = transfer.send_snapshot(self._workspace.transport, snapshot_directory)
        return begin(self, outputs=outputs, snapshot=snapshot, display_name=display_name, tags=tags)

    def get_runs(
        self,
        type: Optional[str] = None,
        tags: Any = None,
        properties: Any = None,
        include_children: bool = False,
        status: Optional[str] = None,
        view_type: Any = "ActiveOnly",
        filter: str = "",
        order_by: str = "",
    ) -> Iterator[Run]:
        """The experiment's runs, newest first, read page by page as they are asked for.

        Args:
            view_type: "ActiveOnly", "ArchivedOnly" or "All".
            filter: what else has to hold, such as ``metrics.loss < 0.1 and age < 7d``; the same language as that of
                ``Workspace.search_runs``. Azure's class has none.
            order_by: such as ``metrics.loss``, or ``-max(metrics.accuracy)`` for the greatest first; Azure's class
                has none.
        Raises:
            UserErrorException: the filter is wrong; says where, and what is allowed there.
        """
        from runyard.run import list_runs, search_runs
        from runyard.run_filter import filter_of

        if filter or order_by:
            found = search_runs(
                self._workspace,
                filter_of(filter, status, type, tags=pairs(tags), properties=pairs(properties)),
                order_by,
                experiment=self.name,
                include_children="true" if include_children else "false",
                view=view_of(view_type),
            )
            return (run for run, _ in found)
        return list_runs(
            self._workspace,
            self,
            experiment=self.name,
            type=type,
            status=status,
            include_children=include_children,
            tags=tags,
            properties=properties,
            view_type=view_type,
        )

    # The experiment itself

    @property
    def workspace(self) -> "Workspace":
        return self._workspace

    workspace_object = workspace

    @property
    def name(self) -> str:
        return self._name

    @property
    def id(self) -> str:
        return self._record().id

    @property
    def archived_time(self) -> Optional[str]:
        from runyard.run_details import iso_time

        archived = self._record().archived_at
        return None if archived is None else iso_time(archived)

    @property
    def tags(self) -> Dict[str, str]:
        return dict(self._record().tags)

    def tag(self, key: str, value: Optional[str] = None) -> None:
        """Sets one tag; without a value it is a bare mark."""
        self.set_tags({key: value or ""})

    def set_tags(self, tags: Dict[str, str]) -> None:
        """Sets several tags."""
        self._change(tags={str(key): str(value) for key, value in tags.items()})

    def remove_tags(self, tags: List[str]) -> None:
        """Removes tags by key."""
        self._change(remove_tags=list(tags))

    def archive(self) -> None:
        """Hides the experiment from lists; its runs stay as they are."""
        self._change(archived=True)

    def reactivate(self, new_name: Optional[str] = None) -> None:
        """Brings an archived experiment back, under a new name if one is given."""
        self._change(archived=False, name=new_name)
        self._name = new_name or self._name

    def refresh(self) -> None:
        """Reads what others have changed."""
        self._known = None

    @staticmethod
    def list(
        workspace: "Workspace", experiment_name: Optional[str] = None, view_type: Any = "ActiveOnly", tags: Any = None
    ) -> List["Experiment"]:
        """Experiments of a workspace, oldest first.

        Args:
            view_type: "ActiveOnly", "ArchivedOnly" or "All".
            tags: a key, a (key, value) pair, or a list of those.
        """
        view = view_of(view_type)
        wanted = pairs(tags) or {}
        found = []
        for said in workspace.transport.call("GET", "/experiments", query={"view": view}):
            record = from_json(ExperimentRecord, said)
            fits = all(key in record.tags and value in (None, record.tags[key]) for key, value in wanted.items())
            if fits and experiment_name in (None, record.name):
                found.append(Experiment(workspace, record.name, _record=record))
        return found

    @staticmethod
    def delete(workspace: "Workspace", experiment_id: str) -> None:
        """Deletes an experiment that has no runs, by its id or name."""
        workspace.transport.call("DELETE", url_path("experiments", experiment_id))

    def _change(self, **changes: Any) -> None:
        self._record()
        path = url_path("experiments", self.name)
        self._known = from_json(ExperimentRecord, self._workspace.transport.call("PATCH", path, json=changes))

    def _record(self) -> ExperimentRecord:
        if self._known is None:
            said = self._workspace.transport.call("PUT", url_path("experiments", self.name))
            self._known = from_json(ExperimentRecord, said)
        return self._known

    def _repr_html_(self) -> str:
        from runyard.notebook.cards import card

        return card(
            [
                ("Name", self.name),
                ("Workspace", self._workspace.name),
            ]
        )

    def __repr__(self) -> str:
        return "Experiment(Name: {}, Workspace: {})".format(self.name, self._workspace.name)


def _submitted(transport: Transport, path: str, spec: RunSpec, run_id: str) -> Any:
    return transport.call("POST", path, json=dict(to_json(spec), id=run_id))


def sent_spec(
    experiment: Experiment, config: Any, tags: Optional[Dict[str, str]] = None, sent: Optional[Set[str]] = None
) -> RunSpec:
    """Sends the code of a run, keeps the tables that it is given, and gives its spec: all of a submission but the last step.

    Args:
        sent: ids of snapshots that the server has, see ``transfer.send_snapshot``.
    """
    from runyard import transfer
    from runyard.dataset_registration import keep
    from runyard.run_spec import build

    def kept(dataset: Any) -> None:
        dataset._bind(experiment.workspace, keep(experiment.workspace, dataset))

    spec = build(config, experiment.name, tags=tags, keep=kept)
    transport = experiment.workspace.transport
    snapshot = transfer.send_snapshot(transport, spec.source_directory, spec.script, sent=sent)
    properties = dict(spec.properties)
    properties.update(_git_properties(spec.source_directory))
    return replace(spec, snapshot=snapshot, properties=properties)


def view_of(view_type: Any) -> str:
    """Azure's word for which of active and archived ones are meant, as the server's."""
    return {"ActiveOnly": "active", "ArchivedOnly": "archived", "All": "all"}[str(view_type).split(".")[-1]]


def pairs(wanted: Any) -> Optional[Dict[str, Optional[str]]]:
    """Azure's ways to ask for tags, as key to value (None for any): a dict, a key, a pair, or a list of those."""
    if wanted is None:
        return None
    if isinstance(wanted, dict):
        return {str(key): None if value is None else str(value) for key, value in wanted.items()}
    if isinstance(wanted, str):
        return {wanted: None}
    if isinstance(wanted, tuple) and len(wanted) == 2 and not isinstance(wanted[1], (tuple, list)):
        return {str(wanted[0]): str(wanted[1])}
    found: Dict[str, Optional[str]] = {}
    for item in wanted:
        found.update(pairs(tuple(item) if isinstance(item, list) else item) or {})
    return found


def _git_properties(directory: str) -> Dict[str, str]:
    """Labels of the commit that the code was in; the snapshot itself is what ran."""
    import os

    from runyard.git import describe

    said = describe(os.path.abspath(directory))
    return {key: value for key, value in said.items() if value}
