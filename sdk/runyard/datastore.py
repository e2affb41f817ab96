"""Datastore: a named place for data, with the interface of Azure ML SDK v1."""

import os
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple

from runyard.absent import answering
from runyard.data_reference import DataReference, clean_path
from runyard.errors import DatastoreException, UserErrorException
from runyard.transport.base import url_path

if TYPE_CHECKING:
    from runyard.digests import LocalFile
    from runyard.workspace import Workspace


@answering("azureml.core.Datastore")
class Datastore:
    """A datastore of a workspace: a folder that the workspace's server keeps.

    Args:
        name: default: the workspace's default datastore.
    Attributes:
        name: its name.
        datastore_type: the kind of place: "Folder".
        workspace: the workspace.
        local_path: the folder itself, where the server runs on this machine; else None.
    Raises:
        UnknownDatastoreError: there is none of that name; says which there are.
    """

    workspace: "Workspace"
    name: str
    local_path: Optional[str]
    is_default: bool

    def __init__(self, workspace: "Workspace", name: Optional[str] = None) -> None:
        self.workspace = workspace
        if name is None:
            (record,) = [item for item in workspace.transport.call("GET", "/datastores") if item["is_default"]]
        else:
            record = workspace.transport.call("GET", url_path("datastores", name))
        self.name = record["name"]
        self.local_path = record.get("local_path")
        self.is_default = record["is_default"]
        self._kind: str = record["kind"]

    @staticmethod
    def get(workspace: "Workspace", datastore_name: str) -> "Datastore":
        """The datastore of that name."""
        return Datastore(workspace, datastore_name)

    @staticmethod
    def get_default(workspace: "Workspace") -> "Datastore":
        """The workspace's default datastore."""
        return Datastore(workspace)

    @staticmethod
    def register_folder(workspace: "Workspace", datastore_name: str, path: str, overwrite: bool = False) -> "Datastore":
        """Attaches a folder of the server's machine (runyard's own; the server's settings allow which).

        Raises:
            DatastoreException: the name is taken, or the folder is not there or not allowed.
        """
        registration = {"name": datastore_name, "kind": "folder", "settings": {"path": path}, "overwrite": overwrite}
        workspace.transport.call("POST", "/datastores", json=registration)
        return Datastore(workspace, datastore_name)

    @staticmethod
    def register_azure_blob_container(workspace: "Workspace", datastore_name: str, *_: Any, **__: Any) -> "Datastore":
        """Not offered yet: raises DatastoreException, which says what to do instead."""
        raise _not_yet("an Azure blob container", datastore_name)

    @staticmethod
    def register_azure_file_share(workspace: "Workspace", datastore_name: str, *_: Any, **__: Any) -> "Datastore":
        """Not offered yet: raises DatastoreException, which says what to do instead."""
        raise _not_yet("an Azure file share", datastore_name)

    @staticmethod
    def register_azure_data_lake(workspace: "Workspace", datastore_name: str, *_: Any, **__: Any) -> "Datastore":
        """Not offered yet: raises DatastoreException, which says what to do instead."""
        raise _not_yet("an Azure data lake", datastore_name)

    @staticmethod
    def register_azure_data_lake_gen2(workspace: "Workspace", datastore_name: str, *_: Any, **__: Any) -> "Datastore":
        """Not offered yet: raises DatastoreException, which says what to do instead."""
        raise _not_yet("an Azure data lake", datastore_name)

    @staticmethod
    def register_azure_sql_database(workspace: "Workspace", datastore_name: str, *_: Any, **__: Any) -> "Datastore":
        """Not offered: raises DatastoreException, which says what to do instead."""
        raise _not_yet("an Azure SQL database", datastore_name)

    @staticmethod
    def register_azure_postgre_sql(workspace: "Workspace", datastore_name: str, *_: Any, **__: Any) -> "Datastore":
        """Not offered: raises DatastoreException, which says what to do instead."""
        raise _not_yet("a PostgreSQL database", datastore_name)

    @staticmethod
    def register_azure_my_sql(workspace: "Workspace", datastore_name: str, *_: Any, **__: Any) -> "Datastore":
        """Not offered: raises DatastoreException, which says what to do instead."""
        raise _not_yet("a MySQL database", datastore_name)

    @staticmethod
    def register_dbfs(workspace: "Workspace", datastore_name: str) -> "Datastore":
        """Not offered: raises DatastoreException, which says what to do instead."""
        raise _not_yet("a Databricks file system", datastore_name)

    def set_as_default(self) -> None:
        """Makes this the workspace's default datastore."""
        self.workspace.transport.call("PATCH", url_path("datastores", self.name), json={"is_default": True})
        self.is_default = True

    def unregister(self) -> None:
        """Takes the datastore from the workspace; its files stay where they are."""
        self.workspace.transport.call("DELETE", url_path("datastores", self.name))

    # Files in and out

    def upload(
        self,
        src_dir: str,
        target_path: Optional[str] = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> DataReference:
        """Sends the files below ``src_dir``; what is there already with the same bytes is not sent again.

        Args:
            target_path: where on the datastore; default its root.
            overwrite: whether files that are there with other bytes are replaced.
            show_progress: whether to print what is sent.
        Returns:
            A reference to ``target_path``; its ``uploaded`` and ``skipped`` count the files.
        Raises:
            UserErrorException: no such folder, or a file that cannot be read.
        """
        if not os.path.isdir(src_dir):
            raise UserErrorException(
                "{!r} is no folder (looked for at {}). upload() takes a folder, upload_files() takes files.".format(
                    src_dir, os.path.abspath(src_dir)
                )
            )
        pairs = []
        for folder, _, names in os.walk(src_dir, followlinks=True):
            for name in names:
                local = os.path.join(folder, name)
                pairs.append((os.path.relpath(local, src_dir).replace(os.sep, "/"), local))
        return self._upload(sorted(pairs), src_dir, target_path, overwrite, show_progress)

    def upload_files(
        self,
        files: Sequence[str],
        relative_root: Optional[str] = None,
        target_path: Optional[str] = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> DataReference:
        """Sends single files.

        Args:
            relative_root: folder that the files' paths on the datastore are relative to; default:
                none, each file lies at ``target_path`` under its own name.
        Returns, raises:
            As ``upload``.
        """
        pairs: Dict[str, str] = {}
        for local in files:
            if not os.path.isfile(local):
                raise UserErrorException(
                    "{!r} is no file (looked for at {}). Check its path.".format(local, os.path.abspath(local))
                )
            name = os.path.basename(local) if relative_root is None else os.path.relpath(local, relative_root)
            name = name.replace(os.sep, "/")
            if name.startswith("../"):
                raise UserErrorException(
                    "{!r} does not lie below relative_root {!r}. Give a folder that holds all files.".format(
                        local, relative_root
                    )
                )
            if pairs.setdefault(name, local) != local:
                raise UserErrorException(
                    "{!r} and {!r} would both become '{}'. Give relative_root, a folder that holds both.".format(
                        pairs[name], local, name
                    )
                )
        return self._upload(sorted(pairs.items()), relative_root or "", target_path, overwrite, show_progress)

    def download(
        self,
        target_path: str,
        prefix: Optional[str] = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> int:
        """Fetches files into the folder ``target_path``, each under its whole path on the datastore.

        Args:
            prefix: only files whose path begins with it.
            overwrite: whether local files that exist are replaced.
        Returns:
            The number of files that were written.
        """
        from runyard import transfer
        from runyard.progress import ProgressBar

        transport = self.workspace.transport
        found = transfer.list_datastore_files(transport, self.name, prefix)
        target = {entry.path: transfer.contained(target_path, entry.path) for entry in found}
        wanted = [entry for entry in found if overwrite or not os.path.lexists(target[entry.path])]
        if show_progress:
            chosen = set(wanted)
            _print_some(
                "Target already exists. Skipping download for {}", [target[e.path] for e in found if e not in chosen]
            )
            print("Downloading {} files".format(len(wanted)))
        with ProgressBar(
            "Downloading", sum(entry.size for entry in wanted), len(wanted), shown=show_progress
        ) as progress:
            count = transfer.download_datastore_files(transport, self.name, wanted, target, progress)
        if show_progress:
            print("Downloaded {} files".format(count))
        return count

    def _upload(
        self,
        pairs: Sequence[Tuple[str, str]],
        folder: str,
        target_path: Optional[str],
        overwrite: bool,
        show_progress: bool,
    ) -> DataReference:
        from runyard import transfer
        from runyard.digests import DigestCache
        from runyard.progress import ProgressBar

        where = clean_path(target_path)
        if show_progress:
            print("Uploading an estimated of {} files".format(len(pairs)))
        cache = DigestCache(folder)
        files, brought = transfer.bring_to_datastore(self.workspace.transport, self.name, where, pairs, cache)
        cache.save()
        with ProgressBar("Uploading", sum(file.size for file in files), len(files), shown=show_progress) as progress:
            progress(sum(file.size for file in files if file.name in brought), len(brought))
            became = transfer.upload_datastore_files(
                self.workspace.transport, self.name, where, files, overwrite, progress
            )
        became["sent"] = became["sent"] + sorted(brought)
        became["same"] = [name for name in became["same"] if name not in brought]
        if show_progress:
            _print_upload(files, where, became)
        reference = DataReference(self, path_on_datastore=where)
        reference.uploaded = len(became["sent"])
        reference.skipped = len(became["same"]) + len(became["kept"])
        return reference

    # References

    def path(self, path: Optional[str] = None, data_reference_name: Optional[str] = None) -> DataReference:
        """A reference to ``path`` on the datastore."""
        return DataReference(self, data_reference_name, path)

    def as_mount(self) -> DataReference:
        """The whole datastore, mounted."""
        return DataReference(self).as_mount()

    def as_download(self, path_on_compute: Optional[str] = None) -> DataReference:
        """The whole datastore, copied to the compute target before the script starts."""
        return DataReference(self).as_download(path_on_compute)

    def as_upload(self, path_on_compute: Optional[str] = None) -> DataReference:
        """The datastore's root, filled with what the script leaves at ``path_on_compute``."""
        return DataReference(self).as_upload(path_on_compute)

    # What scripts written for Azure print

    @property
    def datastore_type(self) -> str:
        return self._kind.capitalize()

    @property
    def container_name(self) -> str:
        """The datastore's name: a folder has no container of another one."""
        return self.name

    @property
    def account_name(self) -> str:
        """The workspace's name: a folder belongs to no storage account."""
        return self.workspace.name

    @property
    def account_key(self) -> None:
        """None: a folder has no key of its own, the server alone reads it."""

    @property
    def protocol(self) -> str:
        """ "file": how the server reaches a folder."""
        return "file"

    def _repr_html_(self) -> str:
        from runyard.notebook.cards import card

        return card(
            [
                ("Name", self.name),
                ("Type", self.datastore_type),
                ("Workspace", self.workspace.name),
                ("Folder", self.local_path),
            ]
        )

    def __repr__(self) -> str:
        return "Datastore(name='{}', datastore_type='{}', workspace='{}')".format(
            self.name, self.datastore_type, self.workspace.name
        )


_LINES = 20  # of a kind, so that ten thousand files do not print ten thousand lines


def _print_upload(files: Sequence["LocalFile"], where: str, became: Dict[str, List[str]]) -> None:
    local = {file.name: file.local for file in files}
    _print_some("Target already exists. Skipping upload for {}", ["/".join((where, name)) for name in became["kept"]])
    _print_some("Already there with the same content: {}", ["/".join((where, name)) for name in became["same"]])
    _print_some("Uploaded {}", [local[name] for name in became["sent"]])
    print("Uploaded {} files".format(len(became["sent"])))


def _print_some(text: str, values: Sequence[str]) -> None:
    for value in values[:_LINES]:
        print(text.format(value))
    if len(values) > _LINES:
        print("  ... and {} more".format(len(values) - _LINES))


def _not_yet(what: str, name: str) -> DatastoreException:
    return DatastoreException(
        "'{}' cannot be attached: {} is no datastore that runyard reads yet. Attach a folder of the server's machine "
        "with Datastore.register_folder(workspace, '{}', path), or copy the data to the default datastore with "
        "workspace.get_default_datastore().upload(...).".format(name, what, name)
    )
