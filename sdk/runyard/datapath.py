"""DataPath: a place on a datastore by its name alone, and the ways in which people write one."""

from typing import TYPE_CHECKING, Any, Optional

from runyard.data_reference import DataReference, check_mode, clean_path
from runyard.errors import UserErrorException

if TYPE_CHECKING:
    from runyard.datastore import Datastore


class DataPath:
    """A path on a datastore.

    Args:
        path_on_datastore: below its root; None for the root.
        name: how people call it; means nothing else.
    Raises:
        DatastoreException: a path with ``..`` or a backslash.
    """

    def __init__(
        self,
        datastore: Optional["Datastore"] = None,
        path_on_datastore: Optional[str] = None,
        name: Optional[str] = None,
    ) -> None:
        if datastore is None:
            raise UserErrorException("A DataPath needs a datastore, such as workspace.get_default_datastore().")
        self.datastore = datastore
        self.path_on_datastore = clean_path(path_on_datastore)
        self.name = name

    @classmethod
    def of(cls, place: Any, what: str) -> "DataPath":
        """The place that a DataPath, a data reference, a datastore or a pair ``(datastore, path)`` means.

        Raises:
            UserErrorException: something else; ``what`` names the argument in the message.
        """
        if isinstance(place, DataPath):
            return place
        if isinstance(place, DataReference):
            return cls(place.datastore, place.path_on_datastore)
        if (
            isinstance(place, (tuple, list))
            and len(place) == 2
            and isinstance(place[1], str)
            and _is_datastore(place[0])
        ):
            return cls(place[0], place[1])
        if _is_datastore(place):
            return cls(place)
        raise UserErrorException(
            "{} takes a place on a datastore: (datastore, 'mnist/train') or datastore.path('mnist/train'); this is {!r:.100}. "
            "Files of this machine are uploaded first: datastore.upload('folder', target_path='mnist').".format(
                what, place
            )
        )

    @property
    def datastore_name(self) -> str:
        return self.datastore.name

    def create_data_reference(
        self,
        data_reference_name: Optional[str] = None,
        datapath_compute_binding: Optional["DataPathComputeBinding"] = None,
    ) -> DataReference:
        """The place as a run is given it."""
        binding = datapath_compute_binding or DataPathComputeBinding()
        return DataReference(
            self.datastore,
            data_reference_name,
            self.path_on_datastore,
            binding.mode,
            binding.path_on_compute,
            binding.overwrite,
        )

    @staticmethod
    def create_from_data_reference(data_reference: DataReference) -> "DataPath":
        """The place that a data reference names."""
        return DataPath(data_reference.datastore, data_reference.path_on_datastore, data_reference.data_reference_name)

    def __repr__(self) -> str:
        return "DataPath(datastore={!r}, path_on_datastore={!r})".format(self.datastore.name, self.path_on_datastore)


class DataPathComputeBinding:
    """How a place comes to a run: what ``DataPath.create_data_reference`` is told.

    Args:
        mode: "mount", "download" or "upload".
        path_on_compute: where the script wants it, relative to its working directory.
        overwrite: whether files that exist at the destination are replaced.
    Raises:
        DatastoreException: an unknown mode.
    """

    def __init__(self, mode: str = "mount", path_on_compute: Optional[str] = None, overwrite: bool = False) -> None:
        self.mode = check_mode(mode)
        self.path_on_compute = path_on_compute
        self.overwrite = overwrite


def _is_datastore(value: Any) -> bool:
    from runyard.datastore import Datastore

    return isinstance(value, Datastore)
