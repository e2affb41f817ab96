"""DatasetConsumptionConfig: how a dataset comes to a run, and the name under which its script finds it."""

from typing import TYPE_CHECKING, Any, Optional

from runyard.absent import answering
from runyard.errors import UserErrorException
from runyard.names import check_data_reference_name

if TYPE_CHECKING:
    from runyard.protocol.datasets import DatasetUse
    from runyard.protocol.runs import DataReferenceSpec

DIRECT_MODE = "direct"
MODES = (DIRECT_MODE, "mount", "download")


@answering("azureml.data.dataset_consumption_config.DatasetConsumptionConfig")
class DatasetConsumptionConfig:
    """A dataset as a run's input, in ``arguments`` or ``inputs``.

    Of files, the script finds the local path in its arguments, in ``Run.get_context().input_datasets[name]`` and in
    the variable ``AZUREML_DATAREFERENCE_<name>``. A table it finds itself in ``input_datasets[name]``; in its arguments
    is the dataset's id.

    Args:
        name: letters, digits and ``_``.
        dataset: a FileDataset or a TabularDataset.
        mode: of files "mount" or "download", "direct" until ``as_mount()`` or ``as_download()`` says which; of a table
            always "direct".
        path_on_compute: where the script wants it, relative to its working directory.
    """

    def __init__(self, name: str, dataset: Any, mode: str = DIRECT_MODE, path_on_compute: Optional[str] = None) -> None:
        if mode not in MODES:
            raise UserErrorException("{!r} is no mode of a dataset. There are: {}.".format(mode, ", ".join(MODES)))
        self.name = check_data_reference_name(name)
        self.dataset = dataset
        self.mode = mode
        self.path_on_compute = path_on_compute

    def as_mount(self, path_on_compute: Optional[str] = None) -> "DatasetConsumptionConfig":
        """The same input, mounted.

        Raises:
            UserErrorException: it is a table, which has no path.
        """
        self._refuse_table("as_mount")
        return DatasetConsumptionConfig(self.name, self.dataset, "mount", path_on_compute)

    def as_download(self, path_on_compute: Optional[str] = None) -> "DatasetConsumptionConfig":
        """The same input, copied to the compute target before the script starts. Raises as ``as_mount``."""
        self._refuse_table("as_download")
        return DatasetConsumptionConfig(self.name, self.dataset, "download", path_on_compute)

    @property
    def is_table(self) -> bool:
        """Whether the script reads it as a table and needs no path."""
        from runyard.tabular_dataset import TabularDataset

        return isinstance(self.dataset, TabularDataset)

    def to_use(self) -> "Optional[DatasetUse]":
        """What the run's history says of it; None of a dataset that the workspace does not keep."""
        from runyard.protocol.datasets import DatasetUse

        kept = self.dataset
        if kept.id is None:
            return None
        return DatasetUse(self.name, kept.id, kept.name, kept.version, self.mode.capitalize(), self.path_on_compute)

    def to_spec(self) -> "DataReferenceSpec":
        """What goes over the wire.

        Raises:
            UserErrorException: no mode was chosen, or the dataset is not one folder or file of a datastore.
        """
        from runyard.protocol.runs import DataReferenceSpec

        if self.mode == DIRECT_MODE:
            raise UserErrorException(
                "The dataset '{0}' has no way to come to the run. Say as_named_input('{0}').as_mount() or "
                ".as_download().".format(self.name)
            )
        place = self.dataset.place()
        return DataReferenceSpec(
            name=self.name,
            datastore=place.datastore.name,
            path=place.path_on_datastore,
            mode=self.mode,
            path_on_compute=self.path_on_compute,
        )

    def _refuse_table(self, how: str) -> None:
        if self.is_table:
            raise UserErrorException(
                "A table comes to a run without {0}(): as_named_input('{1}') is enough, and the script reads it with "
                "Run.get_context().input_datasets['{1}'].to_pandas_dataframe(). For its files take "
                "Dataset.File.from_files(...).{0}().".format(how, self.name)
            )

    def __str__(self) -> str:
        return "$AZUREML_DATAREFERENCE_" + self.name

    def __repr__(self) -> str:
        return "DatasetConsumptionConfig(name={!r}, mode={!r}, dataset={!r})".format(self.name, self.mode, self.dataset)
