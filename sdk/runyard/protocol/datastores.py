"""Datastores on the wire."""

from dataclasses import dataclass, field
from typing import Dict, List, Optional

from runyard.protocol.files import FileEntry


@dataclass(frozen=True)
class DatastoreRecord:
    """A named place for data. ``local_path`` is told only to the machine that holds it."""

    name: str
    kind: str = "folder"
    is_default: bool = False
    local_path: Optional[str] = None
    settings: Dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class UploadAnswer:
    """Which of the offered files the datastore wants, and which it has already or keeps as they are."""

    send: List[str] = field(default_factory=list)
    same: List[str] = field(default_factory=list)
    kept: List[str] = field(default_factory=list)


@dataclass(frozen=True)
class UploadPlan:
    """Files offered to a datastore, their paths below ``target_path`` ("" is its root)."""

    files: List[FileEntry]
    target_path: str = ""
    overwrite: bool = False


@dataclass(frozen=True)
class DatastoreRegistration:
    """A place to attach. Kind "folder" needs ``settings["path"]``, an absolute path that the server allows."""

    name: str
    kind: str = "folder"
    settings: Dict[str, str] = field(default_factory=dict)
    overwrite: bool = False


@dataclass(frozen=True)
class DatastoreChanges:
    """What may be changed on a datastore. None leaves it alone."""

    is_default: Optional[bool] = None
