"""Dataset: the makers of datasets of files and of tables, and those that a workspace keeps by name."""

import os
from typing import TYPE_CHECKING, Any, List, Optional

from runyard.absent import answering
from runyard.abstract_dataset import AbstractDataset
from runyard.datapath import DataPath
from runyard.dataset_sources import sources
from runyard.errors import UserErrorException
from runyard.file_dataset import FileDataset
from runyard.tabular_factory import TabularDatasetFactory

if TYPE_CHECKING:
    from runyard.workspace import Workspace


class FileDatasetFactory:
    """Makes datasets of files: ``Dataset.File``."""

    @staticmethod
    def from_files(
        path: Any, validate: bool = True, partition_format: Optional[str] = None, is_file: bool = False
    ) -> FileDataset:
        """Files by where they are; nothing is copied.

        Args:
            path: ``(datastore, 'folder/or/file')``, ``datastore.path(...)``, a DataPath, an address
                (http, https, ftp), or a list of those. A path may hold ``*`` and ``**``.
            validate: whether a place of a datastore without files is refused at once.
            partition_format: names parts of the files' paths, such as "/{state}/{day:yyyy-MM-dd}/data.csv", for
                ``get_partition_key_values()``.
            is_file: accepted.
        Raises:
            UserErrorException: something else, or ``validate`` and nothing there.
        """
        places = sources(path)
        found = FileDataset(places, partition_format)
        if validate and any(not isinstance(place, str) for place in places):
            found.to_path()
        return found

    @staticmethod
    def upload_directory(
        src_dir: str, target: Any, pattern: Optional[str] = None, overwrite: bool = False, show_progress: bool = True
    ) -> FileDataset:
        """Uploads a folder of this machine and gives the dataset of what is there then.

        Args:
            target: ``(datastore, 'folder')`` or a DataPath.
            pattern: only files whose name fits it, such as "*.csv".
            overwrite: whether files that are there with other bytes are replaced.
        Raises:
            UserErrorException: no such folder, or no file in it that fits.
        """
        import fnmatch

        place = DataPath.of(target, "target")
        if not os.path.isdir(src_dir):
            raise UserErrorException("{!r} is no folder (looked for at {}).".format(src_dir, os.path.abspath(src_dir)))
        files = [
            os.path.join(folder, name)
            for folder, _, names in os.walk(src_dir, followlinks=True)
            for name in sorted(names)
            if pattern is None or fnmatch.fnmatchcase(name, pattern)
        ]
        if not files:
            raise UserErrorException("{} holds no file that fits {!r}.".format(src_dir, pattern or "*"))
        place.datastore.upload_files(files, src_dir, place.path_on_datastore, overwrite, show_progress)
        return FileDataset([place])


class Scenario:
    """What a model's dataset was for."""

    TRAINING = "training"
    VALIDATION = "validation"
    INFERENCING = "inferencing"


@answering("azureml.core.Dataset")
class Dataset:
    """Where Azure's code makes and finds datasets: ``Dataset.File``, ``Dataset.Tabular``, ``Dataset.get_by_name``."""

    File = FileDatasetFactory
    Tabular = TabularDatasetFactory
    Scenario = Scenario

    get_by_name = staticmethod(AbstractDataset.get_by_name)
    get_by_id = staticmethod(AbstractDataset.get_by_id)
    get_all = staticmethod(AbstractDataset.get_all)

    @staticmethod
    def get(workspace: "Workspace", name: Optional[str] = None, id: Optional[str] = None) -> Any:
        """A registered dataset by its name or id: the older way to ask.

        Raises:
            UserErrorException: neither is given, or both.
            UnknownDatasetError: there is none; says which there are.
        """
        if (name is None) == (id is None):
            raise UserErrorException("Dataset.get needs a name or an id: one of the two.")
        if name is not None:
            return AbstractDataset.get_by_name(workspace, name)
        return AbstractDataset.get_by_id(workspace, str(id))

    @staticmethod
    def list(workspace: "Workspace") -> "List[Any]":
        """The newest version of each registered dataset, by name."""
        return [dataset for _, dataset in sorted(AbstractDataset.get_all(workspace).items())]

    def __init__(self, *_: Any, **__: Any) -> None:
        raise UserErrorException(
            "A dataset is made with Dataset.File.from_files((datastore, 'folder')) or "
            "Dataset.Tabular.from_delimited_files((datastore, 'folder/*.csv')), and found with Dataset.get_by_name()."
        )
