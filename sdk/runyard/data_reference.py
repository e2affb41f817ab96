"""DataReference: a place on a datastore that a script sees as a path."""

import uuid
from typing import TYPE_CHECKING, Any, Optional

from runyard.errors import DatastoreException
from runyard.names import check_data_reference_name

if TYPE_CHECKING:
    from runyard.datastore import Datastore
    from runyard.protocol.runs import DataReferenceSpec
    from runyard.runconfig import DataReferenceConfiguration

MODES = ("mount", "download", "upload")


class DataReference:
    """A path on a datastore, and how it comes to the compute target.

    In a script's arguments it renders as ``$AZUREML_DATAREFERENCE_<name>``, which is replaced by
    the real path on the node; a variable of that name is set as well.

    Args:
        datastore: the datastore.
        data_reference_name: default: the datastore's name for its root, else a random one.
        path_on_datastore: path below the datastore's root.
        mode: "mount", "download" or "upload".
        path_on_compute: where the script wants it, relative to its working directory.
        overwrite: whether files that exist at the destination are replaced.
    Attributes:
        uploaded: number of files that the upload which gave this reference moved.
        skipped: number of files that were there already and were left as they are.
    Raises:
        DatastoreException: an unknown mode or a name that no variable could have.
    """

    def __init__(
        self,
        datastore: "Datastore",
        data_reference_name: Optional[str] = None,
        path_on_datastore: Optional[str] = None,
        mode: str = "mount",
        path_on_compute: Optional[str] = None,
        overwrite: bool = False,
    ) -> None:
        check_mode(mode)
        self.datastore = datastore
        self.path_on_datastore = clean_path(path_on_datastore)
        if data_reference_name is None:
            data_reference_name = uuid.uuid4().hex if self.path_on_datastore else datastore.name
        self.data_reference_name = check_data_reference_name(data_reference_name)
        self.mode = mode
        self.path_on_compute = path_on_compute
        self.overwrite = overwrite
        self.uploaded = 0
        self.skipped = 0

    @staticmethod
    def create(
        data_reference_name: Optional[str] = None, datapath: Any = None, datapath_compute_binding: Any = None
    ) -> "DataReference":
        """A reference to a DataPath, as ``DataPath.create_data_reference`` gives it.

        Raises:
            UserErrorException: ``datapath`` is none.
        """
        from runyard.datapath import DataPath

        place = DataPath.of(datapath, "datapath")
        return place.create_data_reference(data_reference_name, datapath_compute_binding)

    def path(self, path: Optional[str] = None, data_reference_name: Optional[str] = None) -> "DataReference":
        """A reference to ``path`` below this one."""
        joined = "/".join(part for part in (self.path_on_datastore, clean_path(path)) if part)
        if data_reference_name is None and joined == self.path_on_datastore:
            data_reference_name = self.data_reference_name
        return DataReference(
            self.datastore, data_reference_name, joined, self.mode, self.path_on_compute, self.overwrite
        )

    def as_mount(self) -> "DataReference":
        """The same place, mounted."""
        return self._with("mount", None, False)

    def as_download(self, path_on_compute: Optional[str] = None, overwrite: bool = False) -> "DataReference":
        """The same place, copied to the compute target before the script starts."""
        return self._with("download", path_on_compute, overwrite)

    def as_upload(self, path_on_compute: Optional[str] = None, overwrite: bool = False) -> "DataReference":
        """The same place, filled with what the script leaves there when it ends."""
        return self._with("upload", path_on_compute, overwrite)

    def to_spec(self) -> "DataReferenceSpec":
        """What goes over the wire."""
        from runyard.protocol.runs import DataReferenceSpec

        return DataReferenceSpec(
            name=self.data_reference_name,
            datastore=self.datastore.name,
            path=self.path_on_datastore,
            mode=self.mode,
            path_on_compute=self.path_on_compute,
            overwrite=self.overwrite,
        )

    def to_config(self) -> "DataReferenceConfiguration":
        """The form that ``RunConfiguration.data_references`` holds."""
        from runyard.runconfig import DataReferenceConfiguration

        return DataReferenceConfiguration(
            self.datastore.name, self.mode, self.path_on_datastore or None, self.path_on_compute, self.overwrite
        )

    def _with(self, mode: str, path_on_compute: Optional[str], overwrite: bool) -> "DataReference":
        return DataReference(
            self.datastore, self.data_reference_name, self.path_on_datastore, mode, path_on_compute, overwrite
        )

    def __str__(self) -> str:
        return "$AZUREML_DATAREFERENCE_" + self.data_reference_name

    def __repr__(self) -> str:
        return str(self)


def check_mode(mode: str) -> str:
    """Raises DatastoreException unless ``mode`` is one of a data reference."""
    if mode not in MODES:
        raise DatastoreException("{!r} is no mode of a data reference. There are: {}.".format(mode, ", ".join(MODES)))
    return mode


def clean_path(path: Optional[str]) -> str:
    """A path on a datastore as it is stored: no ``./`` in front, no ``/`` at its ends; "" for the root.

    Raises:
        DatastoreException: ``..`` or a backslash in it, which no path on a datastore has.
    """
    parts = [part for part in (path or "").split("/") if part not in ("", ".")]
    if ".." in parts or "\\" in (path or ""):
        raise DatastoreException(
            "{!r} is no path on a datastore: it has '..' or a backslash. Give one such as 'mnist/train'.".format(path)
        )
    return "/".join(parts)
