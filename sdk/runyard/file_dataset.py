"""FileDataset: files at places of datastores or at addresses, without a copy of them."""

import fnmatch
import os
import uuid
from typing import TYPE_CHECKING, Any, List, Optional, Tuple

from runyard.absent import answering
from runyard.abstract_dataset import AbstractDataset, Source
from runyard.datapath import DataPath
from runyard.dataset_consumption import DatasetConsumptionConfig
from runyard.errors import UserErrorException

if TYPE_CHECKING:
    from runyard.protocol.datasets import DatasetDefinition
    from runyard.protocol.files import FileEntry

_EVERYTHING = ("**", "*", "**/*")
_WILD = "*?["


@answering("azureml.data.FileDataset")
class FileDataset(AbstractDataset):
    """Files that a run or this process reads. ``Dataset.File.from_files`` makes one."""

    # As a run's input

    def as_mount(self, path_on_compute: Optional[str] = None) -> DatasetConsumptionConfig:
        """The dataset as an argument of a run, mounted, under a name of its own."""
        return self._unnamed().as_mount(path_on_compute)

    def as_download(self, path_on_compute: Optional[str] = None) -> DatasetConsumptionConfig:
        """The dataset as an argument of a run, copied to the compute target before the script starts."""
        return self._unnamed().as_download(path_on_compute)

    def place(self) -> DataPath:
        """The one folder or file of a datastore that the dataset is.

        Raises:
            UserErrorException: several places, addresses or a pattern, which a run cannot be given as one path.
        """
        found = self._sources[0]
        cure = "Upload the files to one folder (datastore.upload_files(...)) and give that: (datastore, 'folder')."
        if len(self._sources) > 1:
            raise UserErrorException(
                "This dataset has {} places; a run is given one folder or file. {}".format(len(self._sources), cure)
            )
        if isinstance(found, str):
            raise UserErrorException("A run cannot be given the address {}. {}".format(found, cure))
        folder, pattern = _split(found.path_on_datastore)
        if pattern is not None and pattern not in _EVERYTHING:
            raise UserErrorException(
                "A run is given a folder or a file, not the pattern '{}'. {}".format(found.path_on_datastore, cure)
            )
        return DataPath(found.datastore, folder)

    def to_spec(self) -> Any:
        """Refused, as in Azure: how the files come to the run must be said.

        Raises:
            UserErrorException: always.
        """
        raise UserErrorException(
            "A FileDataset itself cannot be an argument or an input. Say dataset.as_mount() or dataset.as_download()."
        )

    def to_definition(self) -> "DatasetDefinition":
        """What goes over the wire: where the files are."""
        from runyard.dataset_registration import wire_sources
        from runyard.protocol.datasets import FILE, DatasetDefinition

        return DatasetDefinition(FILE, wire_sources(self), self._partition_format)

    # In this process

    def to_path(self) -> List[str]:
        """The files' paths, each with a ``/`` in front, relative to the folder that the dataset names."""
        return sorted("/" + relative for relative, _, _ in self._files())

    def download(
        self, target_path: Optional[str] = None, overwrite: bool = False, ignore_not_found: bool = False
    ) -> List[str]:
        """Fetches the files to this machine and gives their local paths.

        Args:
            target_path: folder to write to; default: a new one in the system's folder for temporary files.
            overwrite: whether local files that exist are replaced; if not, they make it fail.
            ignore_not_found: whether a place without files is passed over.
        Raises:
            UserErrorException: a place without files, or a local file that exists.
            OSError: an address does not answer.
        """
        from runyard import transfer

        if target_path is None:
            import tempfile

            target_path = tempfile.mkdtemp(prefix="dataset-")
        files = self._files(ignore_not_found)
        local = {relative: transfer.contained(target_path, relative) for relative, _, _ in files}
        there = [path for path in local.values() if os.path.lexists(path)]
        if there and not overwrite:
            raise UserErrorException(
                "{} is there already{}. Give another target_path, or overwrite=True.".format(
                    there[0], " (and {} more)".format(len(there) - 1) if len(there) > 1 else ""
                )
            )
        for source in self._sources:
            mine = [(relative, entry) for relative, of, entry in files if of is source]
            if isinstance(source, str):
                _fetch(source, local[mine[0][0]])
            elif mine:
                entries = [entry for _, entry in mine if entry is not None]
                target = {entry.path: local[relative] for relative, entry in mine if entry is not None}
                transport = source.datastore.workspace.transport
                transfer.download_datastore_files(transport, source.datastore.name, entries, target)
        return sorted(local.values())

    def _files(self, ignore_not_found: bool = False) -> "List[Tuple[str, Source, Optional[FileEntry]]]":
        """Path relative to what its source names, the source, and the datastore's entry of each file."""
        found: List[Tuple[str, Source, Optional[FileEntry]]] = []
        for source in self._sources:
            if isinstance(source, str):
                found.append((_last_part(source), source, None))
                continue
            mine = _matching(source)
            if not mine and not ignore_not_found:
                raise UserErrorException(
                    "The datastore '{}' holds nothing at '{}'.".format(source.datastore.name, source.path_on_datastore)
                )
            found.extend((relative, source, entry) for relative, entry in mine)
        return found

    def _paths(self) -> List[str]:
        return [whole_path(source, entry) for _, source, entry in self._files()]

    def _unnamed(self) -> DatasetConsumptionConfig:
        return DatasetConsumptionConfig("input_" + uuid.uuid4().hex[:8], self)


def _split(path: str) -> Tuple[str, Optional[str]]:
    """A path's plain beginning, and the pattern that follows it; None for none."""
    parts = path.split("/")
    for place, part in enumerate(parts):
        if any(sign in part for sign in _WILD):
            return "/".join(parts[:place]), "/".join(parts[place:])
    return path, None


def _matching(source: DataPath) -> "List[Tuple[str, FileEntry]]":
    from runyard.transfer import list_datastore_files

    folder, pattern = _split(source.path_on_datastore)
    found = []
    for entry in list_datastore_files(source.datastore.workspace.transport, source.datastore.name, folder or None):
        if entry.path == folder:
            found.append((entry.path.rsplit("/", 1)[-1], entry))
        elif not folder or entry.path.startswith(folder + "/"):
            relative = entry.path[len(folder) :].lstrip("/")
            if pattern is None or _fits(relative.split("/"), pattern.split("/")):
                found.append((relative, entry))
    return found


def _fits(path: List[str], pattern: List[str]) -> bool:
    """Whether a path fits a pattern, part by part; ``**`` stands for any number of parts."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        rest = pattern[1:] or ["*"]
        return any(_fits(path[skipped:], rest) for skipped in range(len(path)))
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and _fits(path[1:], pattern[1:])


def whole_path(source: Source, entry: "Optional[FileEntry]") -> str:
    """A file's path on its datastore, or in its address."""
    if entry is not None:
        return entry.path
    from urllib.parse import unquote, urlsplit

    return unquote(urlsplit(str(source)).path).lstrip("/")


def _last_part(address: str) -> str:
    from urllib.parse import unquote, urlsplit

    return unquote(urlsplit(address).path.rstrip("/").rsplit("/", 1)[-1]) or "download"


def _fetch(address: str, path: str) -> None:
    import shutil
    import urllib.request

    from runyard import url_opener

    url_opener.install()

    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    unfinished = "{}.{}".format(path, uuid.uuid4().hex[:8])
    try:
        with urllib.request.urlopen(address, timeout=60) as answer, open(unfinished, "wb") as out:
            shutil.copyfileobj(answer, out)
        os.replace(unfinished, path)
    finally:
        if os.path.exists(unfinished):
            os.remove(unfinished)
