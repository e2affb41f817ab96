"""Files by content: what a snapshot, a run's artifacts and a model's files are lists of."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import List, Optional

# The first entry of a snapshot's pack: no file can have this name, since a path never begins with "/".
MANIFEST_ENTRY = "/manifest"


@dataclass(frozen=True)
class FileEntry:
    """One file: its path (relative, ``/`` between parts), size in bytes and digest (``protocol.digest``)."""

    path: str
    size: int
    digest: str
    executable: bool = False


@dataclass(frozen=True)
class Manifest:
    """A whole tree. It is written last: what it lists is there."""

    files: List[FileEntry] = field(default_factory=list)


@dataclass(frozen=True)
class ManifestAnswer:
    """What the store says of a manifest: its id once all is there, else what is missing."""

    id: Optional[str]
    missing: List[str] = field(default_factory=list)


@dataclass(frozen=True)
class PathList:
    """Paths whose files are asked for in one pack."""

    paths: List[str]


def manifest_id(manifest: Manifest) -> str:
    """SHA-256 in hex of the manifest's canonical form: the same tree has the same id wherever it is made."""
    rows = sorted([entry.path, entry.size, entry.digest, entry.executable] for entry in manifest.files)
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode("ascii")).hexdigest()
