"""OutputFileDatasetConfig: a folder that a run fills, on a datastore."""

import uuid
from typing import TYPE_CHECKING, Any, Optional

from runyard.absent import Absent
from runyard.datapath import DataPath
from runyard.errors import UserErrorException
from runyard.names import check_data_reference_name

if TYPE_CHECKING:
    from runyard.protocol.runs import DataReferenceSpec


class OutputFileDatasetConfig:
    """A place of a datastore that a run writes to; its local path stands in the script's arguments.

    Args:
        name: letters, digits and ``_``; default: one of its own.
        destination: ``(datastore, 'folder')``. Azure's default, a folder named by the run, is not there.
        source: with ``as_upload()``: where the script leaves the files, relative to its working directory.
        partition_format: refused.
    Raises:
        UserErrorException: no destination, or one that holds ``{run-id}``.
    """

    as_input = Absent("azureml.data.OutputFileDatasetConfig")
    register_on_complete = Absent("azureml.data.OutputFileDatasetConfig")

    def __init__(
        self,
        name: Optional[str] = None,
        destination: Any = None,
        source: Optional[str] = None,
        partition_format: Optional[str] = None,
    ) -> None:
        if destination is None:
            raise UserErrorException(
                "Name the output's place: destination=(workspace.get_default_datastore(), 'folder'). Files that belong "
                "to one run alone are written to ./outputs and kept with it."
            )
        if partition_format is not None:
            raise UserErrorException("partition_format makes columns out of paths; outputs are files. Leave it out.")
        self.name = check_data_reference_name(name or "output_" + uuid.uuid4().hex[:8])
        self.destination = DataPath.of(destination, "destination")
        if "{" in self.destination.path_on_datastore:
            raise UserErrorException(
                "The destination '{}' holds a name in braces, which is not filled in. Name the folder itself.".format(
                    self.destination.path_on_datastore
                )
            )
        self.source = source
        self.mode = "mount"
        self.overwrite = False

    def as_mount(self, disable_metadata_cache: bool = False) -> "OutputFileDatasetConfig":
        """The same output, written in place while the script runs."""
        return self._with("mount", False)

    def as_upload(self, overwrite: bool = False, source_globs: Any = None) -> "OutputFileDatasetConfig":
        """The same output, uploaded when the script has ended."""
        if source_globs is not None:
            raise UserErrorException("source_globs is not there yet: everything in the output's folder is uploaded.")
        return self._with("upload", overwrite)

    def to_spec(self) -> "DataReferenceSpec":
        """What goes over the wire."""
        from runyard.protocol.runs import DataReferenceSpec

        return DataReferenceSpec(
            name=self.name,
            datastore=self.destination.datastore.name,
            path=self.destination.path_on_datastore,
            mode=self.mode,
            path_on_compute=self.source,
            overwrite=self.overwrite,
        )

    def _with(self, mode: str, overwrite: bool) -> "OutputFileDatasetConfig":
        twin = OutputFileDatasetConfig(self.name, self.destination, self.source)
        twin.mode = mode
        twin.overwrite = overwrite
        return twin

    def __str__(self) -> str:
        return "$AZUREML_DATAREFERENCE_" + self.name
