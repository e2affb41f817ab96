"""Parts of a run that its jobs are told of or tell: they load these alone, and every run of an engine waits for that."""

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class DataReferenceSpec:
    """A place on a datastore that the script sees as a path.

    Attributes:
        name: the variable's suffix: the script's arguments hold ``$AZUREML_DATAREFERENCE_<name>``.
        datastore: name of the datastore.
        path: path on the datastore, "" for its root.
        mode: "mount", "download" or "upload".
        path_on_compute: where the script wants it, relative to its working directory.
        overwrite: for download and upload: whether existing files are replaced.
        run: id of a run whose files are meant, not a datastore's; they are downloaded.
    """

    name: str
    datastore: str
    path: str = ""
    mode: str = "mount"
    path_on_compute: Optional[str] = None
    overwrite: bool = False
    run: Optional[str] = None


@dataclass(frozen=True)
class DistributionSpec:
    """How a run's processes find each other.

    Attributes:
        kind: "none", "mpi", "tensorflow" (parameter server) or "torch".
        process_count_per_node: ranks on each node.
        chief: whether a task more coordinates TensorFlow's workers, which then end by themselves as little as
            parameter servers do.
    """

    kind: str = "none"
    process_count_per_node: int = 1
    worker_count: int = 1
    parameter_server_count: int = 0
    process_count: Optional[int] = None
    communication_backend: Optional[str] = None
    chief: bool = False


@dataclass(frozen=True)
class RunError:
    """The cause of a failure: what ``run.get_details()["error"]`` holds."""

    code: str
    message: str
    rank: Optional[int] = None
    exit_code: Optional[int] = None
    signal: Optional[str] = None
    traceback: Optional[str] = None
