"""AbstractDataset: what datasets of files and of tables have in common: where they are, their name and their versions."""

import copy
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, TypeVar, Union

from runyard import partition_format as partitions
from runyard.absent import answering
from runyard.datapath import DataPath
from runyard.dataset_consumption import DatasetConsumptionConfig
from runyard.errors import UserErrorException

if TYPE_CHECKING:
    from runyard.protocol.datasets import DatasetDefinition, DatasetRecord
    from runyard.workspace import Workspace

Source = Union[DataPath, str]  # a str is an address
Self = TypeVar("Self", bound="AbstractDataset")


@answering("azureml.data.abstract_dataset.AbstractDataset", "azureml.core.Dataset")
class AbstractDataset:
    """Data at places of datastores or at addresses, without a copy of it. ``Dataset.File`` and ``Dataset.Tabular`` make one."""

    def __init__(self, sources: Sequence[Source], partition_format: Optional[str] = None) -> None:
        if partition_format is not None:
            partitions.keys(partition_format)
        self._sources = list(sources)
        self._partition_format = partition_format
        self._workspace: Optional[Workspace] = None
        self._record: Optional[DatasetRecord] = None

    # What it is

    @property
    def id(self) -> Optional[str]:
        """The id under which the workspace keeps it; None until it is registered or given to a run."""
        return None if self._record is None else self._record.id

    @property
    def name(self) -> Optional[str]:
        """The name that it was registered under; None of one that was not."""
        return None if self._record is None else self._record.name

    @property
    def version(self) -> Optional[int]:
        """The registered version, a number from 1; None of one that was not registered."""
        return None if self._record is None else self._record.version

    @property
    def description(self) -> Optional[str]:
        return None if self._record is None else self._record.description

    @property
    def tags(self) -> Dict[str, str]:
        return {} if self._record is None else dict(self._record.tags)

    @property
    def partition_keys(self) -> List[str]:
        """The columns that are parts of the files' paths, as ``partition_format`` names them; none without one."""
        return [] if self._partition_format is None else partitions.keys(self._partition_format)

    def get_partition_key_values(self, partition_keys: Optional[Sequence[str]] = None) -> List[Dict[str, Any]]:
        """The different values that the files' paths have for the partition keys, or for these of them.

        Raises:
            UserErrorException: a key that the dataset does not have.
        """
        wanted = self.partition_keys if partition_keys is None else list(partition_keys)
        unknown = [key for key in wanted if key not in self.partition_keys]
        if unknown or self._partition_format is None:
            raise UserErrorException(
                "{} is no partition key of this dataset. It has: {}. partition_format=... names them when the dataset is "
                "made.".format(unknown[0] if unknown else "None", ", ".join(self.partition_keys) or "none")
            )
        found: List[Dict[str, Any]] = []
        for path in self._paths():
            values = partitions.values(self._partition_format, path)
            chosen = {key: values[key] for key in wanted}
            if chosen not in found:
                found.append(chosen)
        return found

    # As a run's input

    def as_named_input(self, name: str) -> DatasetConsumptionConfig:
        """The dataset under a name, for a run's arguments or inputs."""
        return DatasetConsumptionConfig(name, self)

    # Kept by the workspace

    def register(
        self: Self,
        workspace: "Workspace",
        name: str,
        description: Optional[str] = None,
        tags: Optional[Mapping[str, Any]] = None,
        create_new_version: bool = False,
    ) -> Self:
        """Keeps the dataset in the workspace under a name; the data stays where it is.

        Registering what is the name's newest version already gives that version.

        Args:
            create_new_version: whether a name that belongs to other data gets a next version; False refuses it.
        Raises:
            DatasetException: a name against the rules, or one that is taken.
        """
        from runyard import dataset_registration

        record = dataset_registration.register(workspace, self, name, description, tags, create_new_version)
        self._bind(workspace, record)
        return copy.copy(self)

    def update(self: Self, description: Optional[str] = None, tags: Optional[Mapping[str, Any]] = None) -> Self:
        """Describes the registered version anew and puts ``tags`` in the place of those that it has."""
        from runyard.names import checked_pairs

        said: Dict[str, Any] = {"description": description}
        if tags is not None:
            said["tags"] = checked_pairs(tags)
            said["remove_tags"] = [key for key in self.tags if key not in said["tags"]]
        return self._change(said)

    def add_tags(self: Self, tags: Optional[Mapping[str, Any]] = None) -> Self:
        """Adds tags to the registered version, or changes their values."""
        from runyard.names import checked_pairs

        return self._change({"tags": checked_pairs(tags)})

    def remove_tags(self: Self, tags: Optional[Sequence[str]] = None) -> Self:
        """Removes tags of the registered version by key."""
        return self._change({"remove_tags": list(tags or ())})

    def unregister_all_versions(self) -> None:
        """Takes all versions of its name from the workspace. The data stays, and so does what runs say of it."""
        from runyard import dataset_registration

        workspace, record = self._registration()
        dataset_registration.unregister(workspace, str(record.name))
        self._workspace = self._record = None

    @staticmethod
    def get_by_name(workspace: "Workspace", name: str, version: Any = "latest", **azure: Any) -> Any:
        """A registered dataset.

        Args:
            version: a number, or "latest".
        Raises:
            UnknownDatasetError: there is none; says which names or versions there are.
        """
        from runyard import dataset_registration
        from runyard.notices import not_used

        not_used("Dataset.get_by_name", azure, "datasets here have no such setting.")
        return dataset_registration.by_name(workspace, name, version)

    @staticmethod
    def get_by_id(workspace: "Workspace", id: str, **azure: Any) -> Any:
        """The dataset that the workspace keeps under that id.

        Raises:
            UnknownDatasetError: there is none.
        """
        from runyard import dataset_registration
        from runyard.notices import not_used

        not_used("Dataset.get_by_id", azure, "datasets here have no such setting.")
        return dataset_registration.by_id(workspace, id)

    @staticmethod
    def get_all(workspace: "Workspace") -> "Dict[str, Any]":
        """Name to the newest version of each registered dataset."""
        from runyard import dataset_registration

        return dataset_registration.newest(workspace)

    # Inside

    def to_definition(self) -> "DatasetDefinition":
        """What goes over the wire: where the data is, and how it is read."""
        raise NotImplementedError

    def _paths(self) -> List[str]:
        """The files' whole paths on their datastores or at their addresses."""
        raise NotImplementedError

    def _bind(self, workspace: "Workspace", record: "DatasetRecord") -> None:
        self._workspace, self._record = workspace, record

    def _registration(self) -> Any:
        if self._workspace is None or self._record is None or self._record.name is None:
            raise UserErrorException("This dataset is not registered. dataset.register(workspace, name) does that.")
        return self._workspace, self._record

    def _change(self: Self, said: Dict[str, Any]) -> Self:
        from runyard import dataset_registration

        workspace, record = self._registration()
        self._bind(workspace, dataset_registration.change(workspace, record, said))
        return self

    def _places(self) -> str:
        return ", ".join(
            source
            if isinstance(source, str)
            else "('{}', '{}')".format(source.datastore.name, source.path_on_datastore)
            for source in self._sources
        )

    def _repr_html_(self) -> str:
        from runyard.notebook.cards import card

        return card(
            [
                ("Name", self.name),
                ("Version", None if self.version is None else str(self.version)),
                ("Id", self.id),
                ("Files", self._places()),
            ]
        )

    def __repr__(self) -> str:
        known = "" if self.name is None else "name='{}', version={}, ".format(self.name, self.version)
        return "{}({}{})".format(type(self).__name__, known, self._places())
