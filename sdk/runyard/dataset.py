"""Dataset: the makers of datasets. Files have theirs; tables and datasets kept by name are planned."""

import os
from typing import Any, List, Optional

from runyard.absent import Absent
from runyard.datapath import DataPath
from runyard.errors import UserErrorException
from runyard.file_dataset import FileDataset, Source

_ADDRESSES = ("http://", "https://", "ftp://")


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
            partition_format: refused: columns made of paths belong to tables.
            is_file: accepted.
        Raises:
            UserErrorException: something else, or ``validate`` and nothing there.
        """
        if partition_format is not None:
            raise UserErrorException(
                "partition_format makes columns out of paths; datasets as tables are planned for a later version. "
                "Leave it out and take the parts from dataset.to_path()."
            )
        sources = _sources(path)
        found = FileDataset(sources)
        if validate and any(not isinstance(source, str) for source in sources):
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


class Dataset:
    """Where Azure's code makes datasets: ``Dataset.File`` for files."""

    File = FileDatasetFactory

    Tabular = Absent("azureml.core.Dataset")
    auto_read_files = Absent("azureml.core.Dataset")
    from_delimited_files = Absent("azureml.core.Dataset")
    from_parquet_files = Absent("azureml.core.Dataset")
    generate_profile = Absent("azureml.core.Dataset")
    get = Absent("azureml.core.Dataset")
    get_all = Absent("azureml.core.Dataset")
    get_by_id = Absent("azureml.core.Dataset")
    get_by_name = Absent("azureml.core.Dataset")
    get_definition = Absent("azureml.core.Dataset")
    get_definitions = Absent("azureml.core.Dataset")
    get_profile = Absent("azureml.core.Dataset")
    register = Absent("azureml.core.Dataset")
    to_pandas_dataframe = Absent("azureml.core.Dataset")
    update_definition = Absent("azureml.core.Dataset")

    def __init__(self, *_: Any, **__: Any) -> None:
        raise UserErrorException("A dataset is made with Dataset.File.from_files((datastore, 'folder')).")


def _sources(path: Any) -> List[Source]:
    if isinstance(path, list) and not (
        len(path) == 2 and not isinstance(path[0], (str, tuple, DataPath)) and isinstance(path[1], str)
    ):
        if not path:
            raise UserErrorException("path is an empty list: name at least one place, such as (datastore, 'mnist').")
        return [_source(place) for place in path]
    return [_source(path)]


def _source(place: Any) -> Source:
    if isinstance(place, str) and place.lower().startswith(_ADDRESSES):
        return place
    return DataPath.of(place, "path")
