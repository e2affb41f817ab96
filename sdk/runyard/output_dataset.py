"""OutputFileDatasetConfig: a folder that a run fills, on a datastore."""

import uuid
from typing import TYPE_CHECKING, Any, Mapping, Optional

from runyard.absent import answering
from runyard.datapath import DataPath
from runyard.errors import UserErrorException
from runyard.names import check_data_reference_name, check_dataset_name, checked_pairs

if TYPE_CHECKING:
    from runyard.dataset_consumption import DatasetConsumptionConfig
    from runyard.protocol.datasets import DatasetOutput
    from runyard.protocol.runs import DataReferenceSpec


@answering("azureml.data.OutputFileDatasetConfig")
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
        self._registration: Optional[DatasetOutput] = None

    def as_mount(self, disable_metadata_cache: bool = False) -> "OutputFileDatasetConfig":
        """The same output, written in place while the script runs."""
        return self._with("mount", False)

    def as_upload(self, overwrite: bool = False, source_globs: Any = None) -> "OutputFileDatasetConfig":
        """The same output, uploaded when the script has ended."""
        if source_globs is not None:
            raise UserErrorException("source_globs is not there yet: everything in the output's folder is uploaded.")
        return self._with("upload", overwrite)

    def register_on_complete(
        self, name: str, description: Optional[str] = None, tags: Optional[Mapping[str, Any]] = None
    ) -> "OutputFileDatasetConfig":
        """The same output; when the run completes, what is at its destination becomes a new version of dataset ``name``.

        Raises:
            DatasetException: a name against the rules.
        """
        from runyard.protocol.datasets import DatasetOutput

        twin = self._with(self.mode, self.overwrite)
        twin._registration = DatasetOutput(
            output_name=self.name,
            name=check_dataset_name(name),
            datastore=self.destination.datastore.name,
            path=self.destination.path_on_datastore,
            description=description,
            tags=checked_pairs(tags),
        )
        return twin

    def as_input(self, name: Optional[str] = None) -> "DatasetConsumptionConfig":
        """The output's place as the input of a later run, mounted; ``name`` default: the output's own."""
        from runyard.dataset_consumption import DatasetConsumptionConfig
        from runyard.file_dataset import FileDataset

        return DatasetConsumptionConfig(name or self.name, FileDataset([self.destination]), "mount")

    def to_output(self) -> "Optional[DatasetOutput]":
        """What is to be registered when the run completes."""
        return self._registration

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
        twin._registration = self._registration
        return twin

    def __str__(self) -> str:
        return "$AZUREML_DATAREFERENCE_" + self.name
