"""Model: a registered file or folder, with versions that count up and the run that made it."""

import os
import uuid
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Optional, Sequence, Union

from runyard import model_files, model_registration, model_search
from runyard.absent import answering
from runyard.errors import ModelException
from runyard.model_search import Pairs
from runyard.names import check_model_name
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.models import ModelChanges, ModelRecord
from runyard.transport.base import url_path

if TYPE_CHECKING:
    from runyard.run import Run
    from runyard.workspace import Workspace


@answering("azureml.core.Model")
class Model:
    """One version of a registered model: the newest that matches what is given.

    Args:
        workspace: the workspace that holds it.
        name: its name; ``id`` ("name:version") names a version at once.
        tags, properties: keys, or ``[key, value]`` pairs, that it must have.
        version: its number; default: the newest.
        run_id: the run that it was registered from.
        model_framework: one of ``Model.Framework``.
    Raises:
        ModelNotFoundException: none matches; says which there are.
    """

    class Framework:
        """The frameworks that a model may name."""

        CUSTOM = "Custom"
        KERAS = "Keras"
        MULTI = "Multi"
        ONNX = "Onnx"
        PYTORCH = "PyTorch"
        SCIKITLEARN = "ScikitLearn"
        TENSORFLOW = "TensorFlow"

    def __init__(
        self,
        workspace: "Workspace",
        name: Optional[str] = None,
        id: Optional[str] = None,
        tags: Pairs = None,
        properties: Pairs = None,
        version: Optional[int] = None,
        run_id: Optional[str] = None,
        model_framework: Optional[str] = None,
        expand: bool = True,
    ) -> None:
        self._workspace = workspace
        if id is not None:
            name, version = model_search.name_and_version(id)
        wanted = model_search.filters(name, version, tags, properties, run_id, model_framework)
        self._record = model_search.newest(workspace.transport, wanted)

    @classmethod
    def _of(cls, workspace: "Workspace", record: ModelRecord) -> "Model":
        model = cls.__new__(cls)
        model._workspace, model._record = workspace, record
        return model

    # Registering and finding

    @staticmethod
    def register(
        workspace: "Workspace",
        model_path: str,
        model_name: str,
        tags: Optional[Mapping[str, Any]] = None,
        properties: Optional[Mapping[str, Any]] = None,
        description: Optional[str] = None,
        datasets: Any = None,
        model_framework: Optional[str] = None,
        model_framework_version: Optional[str] = None,
        child_paths: Optional[Sequence[str]] = None,
        sample_input_dataset: Any = None,
        sample_output_dataset: Any = None,
        resource_configuration: Any = None,
    ) -> "Model":
        """Registers a local file or folder as the next version of ``model_name``.

        Args:
            model_path: the file or folder; its name is kept, and is what ``download`` gives.
            datasets: pairs of what a registered dataset was for and the dataset:
                ``[(Dataset.Scenario.TRAINING, dataset)]``.
            child_paths: of a folder only these files and folders, relative to it.
        Raises:
            ModelPathNotFoundException: no such file or folder.
            ModelException: a name against the rules, an unknown framework, an empty folder.
        """
        model_registration.refuse_unsupported(sample_input_dataset, sample_output_dataset, resource_configuration)
        spec = model_registration.spec(
            model_name, tags, properties, description, model_framework, model_framework_version, datasets
        )
        record = model_registration.from_local(workspace.transport, spec, model_path, child_paths)
        return Model._of(workspace, record)

    @staticmethod
    def register_from_run(
        workspace: "Workspace",
        run_id: str,
        model_name: str,
        model_path: Optional[str] = None,
        tags: Optional[Mapping[str, Any]] = None,
        properties: Optional[Mapping[str, Any]] = None,
        model_framework: Optional[str] = None,
        model_framework_version: Optional[str] = None,
        description: Optional[str] = None,
        datasets: Any = None,
        sample_input_dataset: Any = None,
        sample_output_dataset: Any = None,
        resource_configuration: Any = None,
    ) -> "Model":
        """Registers a file or folder among a run's files: what ``run.register_model`` does.

        Args:
            model_path: path in the run's files, such as "outputs/model"; default: ``model_name``.
        Raises:
            ModelPathNotFoundException: the run has no such file or folder; says what it has.
            ModelException: a name against the rules, an unknown framework.
        """
        model_registration.refuse_unsupported(sample_input_dataset, sample_output_dataset, resource_configuration)
        spec = model_registration.spec(
            model_name, tags, properties, description, model_framework, model_framework_version, datasets
        )
        record = model_registration.from_run(workspace.transport, spec, run_id, model_path)
        return Model._of(workspace, record)

    @staticmethod
    def list(
        workspace: "Workspace",
        name: Optional[str] = None,
        tags: Pairs = None,
        properties: Pairs = None,
        run_id: Optional[str] = None,
        latest: bool = False,
        dataset_id: Optional[str] = None,
        expand: bool = True,
        page_count: int = 255,
        model_framework: Optional[str] = None,
    ) -> List["Model"]:
        """Models of the workspace, newest first.

        Args:
            tags, properties: keys, or ``[key, value]`` pairs, all of which a model must have.
            latest: of each name only the newest version that matches.
            dataset_id: of a registered dataset that a model names.
            page_count: models asked for in one request.
        """
        wanted = model_search.filters(name, None, tags, properties, run_id, model_framework)
        records = model_search.all_pages(workspace.transport, dict(wanted, latest=latest, limit=page_count))
        if dataset_id is not None:
            records = [record for record in records if dataset_id in [use[1] for use in record.datasets]]
        return [Model._of(workspace, record) for record in records]

    # What it is

    @property
    def workspace(self) -> "Workspace":
        return self._workspace

    @property
    def name(self) -> str:
        return self._record.name

    @property
    def version(self) -> int:
        return self._record.version

    @property
    def id(self) -> str:
        """``name:version``."""
        return self._record.id

    @property
    def tags(self) -> Dict[str, str]:
        return dict(self._record.tags)

    @property
    def properties(self) -> Dict[str, str]:
        return dict(self._record.properties)

    @property
    def description(self) -> Optional[str]:
        return self._record.description

    @property
    def created_time(self) -> datetime:
        """When it was registered, UTC."""
        return datetime.fromtimestamp(self._record.created_at, timezone.utc)

    @property
    def model_framework(self) -> Optional[str]:
        return self._record.framework

    @property
    def model_framework_version(self) -> Optional[str]:
        return self._record.framework_version

    @property
    def run_id(self) -> Optional[str]:
        return self._record.run_id

    @property
    def experiment_name(self) -> Optional[str]:
        """Experiment of the run that it was registered from."""
        return self._record.experiment

    @property
    def run(self) -> Optional["Run"]:
        """The run that it was registered from, None where it came from a local path."""
        return None if self.run_id is None else self._workspace.get_run(self.run_id)

    @property
    def datasets(self) -> Dict[str, List[Any]]:
        """What a registered dataset was for (``Dataset.Scenario``) to the datasets."""
        from runyard.dataset_registration import by_id

        found: Dict[str, List[Any]] = {}
        for purpose, dataset_id in self._record.datasets:
            found.setdefault(purpose, []).append(by_id(self._workspace, dataset_id))
        return found

    @property
    def url(self) -> str:
        """Where it lies, as one line."""
        return "aml://asset/{}".format(self.id)

    @property
    def size_bytes(self) -> int:
        """Bytes of all its files."""
        return sum(entry.size for entry in self._whole().files)

    def get_file_names(self) -> List[str]:
        """Its files, with ``/`` between the parts of a path; the first part is the registered file or folder."""
        return [entry.path for entry in self._whole().files]

    # Fetching

    def download(self, target_dir: str = ".", exist_ok: bool = False, exists_ok: Optional[bool] = None) -> str:
        """Writes the model's file or folder into ``target_dir`` and gives its path there.

        Args:
            exist_ok: whether files that are there already are replaced (``exists_ok`` is its older name).
        Raises:
            ModelException: something of that name is there and ``exist_ok`` is False.
        """
        from runyard import transfer

        record = self._whole()
        path = transfer.contained(target_dir, record.root)
        if os.path.lexists(path) and not (exist_ok or exists_ok):
            raise ModelException(
                "{} is there already. Pass exist_ok=True to replace its files, or choose another target_dir.".format(
                    path
                )
            )
        target = {entry.path: transfer.contained(target_dir, entry.path) for entry in record.files}
        os.makedirs(target_dir, exist_ok=True)
        transfer.download_model_files(self._workspace.transport, self.name, self.version, record.files, target)
        return path

    @staticmethod
    def get_model_path(model_name: str, version: Optional[int] = None, _workspace: Optional["Workspace"] = None) -> str:
        """Path of a registered model's file or folder on this machine.

        Inside a run (or with ``_workspace``) it is fetched, once, to
        ``azureml-models/<name>/<version>/``; elsewhere it is looked for there, then as ``./<name>``.

        Raises:
            ModelNotFoundException: not there; says where it was looked for.
        """
        check_model_name(model_name)
        workspace = _workspace if _workspace is not None else _workspace_of_run()
        if workspace is not None:
            return Model(workspace, model_name, version=version)._kept()
        return model_files.fetched_earlier(model_name, version)

    def _kept(self) -> str:
        final = model_files.version_folder(self.name, self.version)
        if not os.path.isdir(final):
            # Several processes of a run ask at once: each fetches aside, the first to be done names the result.
            aside = "{}.{}".format(final, uuid.uuid4().hex)
            os.makedirs(aside)
            try:
                self.download(aside)
                os.rename(aside, final)
            except OSError:
                if not os.path.isdir(final):
                    raise
            finally:
                model_files.remove(aside)
        return model_files.one_entry(final)

    # Changing

    def update(
        self,
        tags: Optional[Mapping[str, Any]] = None,
        description: Optional[str] = None,
        sample_input_dataset: Any = None,
        sample_output_dataset: Any = None,
        resource_configuration: Any = None,
    ) -> None:
        """Puts ``tags`` in the place of all present ones, and sets the description; None leaves either alone."""
        model_registration.refuse_unsupported(sample_input_dataset, sample_output_dataset, resource_configuration)
        gone = [key for key in self.tags if key not in tags] if tags is not None else None
        self._change(ModelChanges(tags=model_registration.text(tags, "tag"), remove_tags=gone, description=description))

    def add_tags(self, tags: Mapping[str, Any]) -> None:
        """Adds or changes tags."""
        self._change(ModelChanges(tags=model_registration.text(tags, "tag")))

    def remove_tags(self, tags: Union[str, Iterable[str]]) -> None:
        """Removes tags by key; those that are not there do not matter."""
        self._change(ModelChanges(remove_tags=[tags] if isinstance(tags, str) else [str(key) for key in tags]))

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        """Adds properties.

        Raises:
            ModelException: one that is there with another value; properties are written once.
        """
        self._change(ModelChanges(properties=model_registration.text(properties, "property")))

    def add_dataset_references(self, datasets: Sequence[Any]) -> None:
        """Names more datasets that it was made with: pairs of what each was for and the registered dataset."""
        self._change(ModelChanges(datasets=model_registration.uses(datasets)))

    def update_tags_properties(
        self,
        add_tags: Optional[Mapping[str, Any]] = None,
        remove_tags: Optional[Iterable[str]] = None,
        add_properties: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """Removes and adds tags, and adds properties, at once."""
        self._change(
            ModelChanges(
                tags=model_registration.text(add_tags, "tag"),
                remove_tags=[str(key) for key in remove_tags] if remove_tags is not None else None,
                properties=model_registration.text(add_properties, "property"),
            )
        )

    def delete(self) -> None:
        """Deletes this version; its number is never given again.

        Raises:
            ModelNotFoundException: it is gone already.
        """
        self._workspace.transport.call("DELETE", self._path())

    def serialize(self) -> Dict[str, Any]:
        """What is known of it as plain values, under Azure's keys."""
        return {
            "id": self.id,
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "tags": self.tags,
            "properties": self.properties,
            "createdTime": self.created_time.isoformat(),
            "framework": self.model_framework,
            "frameworkVersion": self.model_framework_version,
            "runId": self.run_id,
            "experimentName": self.experiment_name,
            "url": self.url,
        }

    @staticmethod
    def deserialize(workspace: "Workspace", model_payload: Mapping[str, Any]) -> "Model":
        """The model that ``serialize`` described, as it is now."""
        return Model(workspace, id=str(model_payload["id"]))

    def _change(self, changes: ModelChanges) -> None:
        answer = self._workspace.transport.call("PATCH", self._path(), json=to_json(changes))
        self._record = from_json(ModelRecord, answer)

    def _path(self) -> str:
        return url_path("models", self.name, str(self.version))

    def _whole(self) -> ModelRecord:
        if not self._record.files:  # as a list gave it
            self._record = model_search.fetched(self._workspace.transport, self.name, self.version)
        return self._record

    def _repr_html_(self) -> str:
        from runyard.notebook.cards import card

        return card([("Name", self.name), ("Version", str(self.version)), ("Workspace", self._workspace.name)])

    def __repr__(self) -> str:
        return "Model(workspace={!r}, name={!r}, id={!r}, version={!r}, tags={!r}, properties={!r})".format(
            self._workspace, self.name, self.id, self.version, self.tags, self.properties
        )

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and (self._workspace, self.id) == (other._workspace, other.id)

    def __hash__(self) -> int:
        return hash(self.id)


def _workspace_of_run() -> Optional["Workspace"]:
    """The workspace of the run that this process belongs to, None outside a run."""
    if not os.environ.get("AZUREML_RUN_ID"):
        return None
    from runyard.run import Run

    workspace: Optional[Workspace] = Run.get_context(allow_offline=False).experiment.workspace
    return workspace
