"""Datasets on the wire: where their files are, never the files themselves."""

from dataclasses import dataclass, field
from typing import Dict, List, Optional

FILE = "file"
TABULAR = "tabular"


@dataclass(frozen=True)
class DatasetSource:
    """One place of a dataset's files: a path on a datastore, which may hold ``*`` and ``**``, or an address."""

    datastore: Optional[str] = None
    path: str = ""
    address: Optional[str] = None


@dataclass(frozen=True)
class DatasetDefinition:
    """What a dataset is.

    Attributes:
        kind: FILE or TABULAR.
        partition_format: columns that are parts of the files' paths, such as "/{state}/{day:yyyy-MM-dd}/data.csv".
        table: of TABULAR, JSON: how the files are read and what is done with the rows. The client's own words, which the
            server keeps and does not read.
    """

    kind: str
    sources: List[DatasetSource]
    partition_format: Optional[str] = None
    table: Optional[str] = None


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset to keep: as a version of ``name``, or by its id alone where that is None.

    Attributes:
        id: chosen by the client, so that a registration that is sent twice makes one version.
        create_new_version: whether a name that is taken gets another version.
    """

    id: str
    definition: DatasetDefinition
    name: Optional[str] = None
    description: Optional[str] = None
    tags: Dict[str, str] = field(default_factory=dict)
    create_new_version: bool = False


@dataclass(frozen=True)
class DatasetRecord:
    """A dataset that the workspace keeps; ``name`` and ``version`` are None of one that is kept by its id alone.

    Attributes:
        run_id: the run that registered it.
    """

    id: str
    definition: DatasetDefinition
    created_at: float
    name: Optional[str] = None
    version: Optional[int] = None
    description: Optional[str] = None
    tags: Dict[str, str] = field(default_factory=dict)
    run_id: Optional[str] = None


@dataclass(frozen=True)
class DatasetChanges:
    """What may change on a version of a dataset. None leaves a field alone."""

    description: Optional[str] = None
    tags: Optional[Dict[str, str]] = None
    remove_tags: Optional[List[str]] = None


@dataclass(frozen=True)
class DatasetUse:
    """A kept dataset that a run is given: its lineage.

    Attributes:
        input_name: under which the script finds it.
        mechanism: "Mount", "Download" or "Direct" (the script reads the table itself).
    """

    input_name: str
    id: str
    name: Optional[str] = None
    version: Optional[int] = None
    mechanism: str = "Direct"
    path_on_compute: Optional[str] = None


@dataclass(frozen=True)
class DatasetOutput:
    """A place that a run fills and that becomes a version of dataset ``name`` when the run completes."""

    output_name: str
    name: str
    datastore: str
    path: str = ""
    description: Optional[str] = None
    tags: Dict[str, str] = field(default_factory=dict)
