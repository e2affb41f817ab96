"""What may be asked of snapshots: the trees of code that runs are made from."""

import json

from runyard.errors import SnapshotException
from runyard.protocol.codec import to_json
from runyard.protocol.files import MANIFEST_ENTRY, Manifest, ManifestAnswer, manifest_id
from runyard_server.artifacts.send import Outgoing
from runyard_server.artifacts.store import ObjectStore
from runyard_server.domain.clock import Clock
from runyard_server.records import files as records
from runyard_server.records.engine import Database
from runyard_server.services.objects import checked_manifest

# A snapshot never changes, and every submission of one asks for its files twice: the last few are kept at hand.
_KEPT_SNAPSHOTS = 8
_KEPT_FILES = 1000
_SEEN_S = 10.0  # how long a look at the records is enough: little beside the grace time of clean-ups


class SnapshotService:
    """Snapshots: a manifest over objects, named by the manifest's own digest."""

    def __init__(self, database: Database, clock: Clock, store: ObjectStore) -> None:
        self._database = database
        self._clock = clock
        self._store = store
        self._recent: dict[str, Manifest] = {}
        self._seen_at: dict[str, float] = {}  # when these were last read to be here and new, or renewed

    def create(self, manifest: Manifest) -> ManifestAnswer:
        """Writes a snapshot down once all its objects are here; else the answer names those that lack.

        Raises:
            PathRefusedError, UserErrorException: see ``checked_manifest``.
        """
        sizes = checked_manifest(manifest)
        missing = self._store.missing_or_short(sizes)
        if missing:
            return ManifestAnswer(id=None, missing=missing)
        snapshot_id = manifest_id(manifest)
        if not self._renewed(snapshot_id):
            with self._database.write() as connection:
                records.add_snapshot(connection, snapshot_id, manifest, self._clock.now())
        return ManifestAnswer(id=snapshot_id)

    def hold(self, snapshot_id: str) -> Manifest:
        """The tree, for a run that is going to be made of it: no clean-up removes it within its grace time.

        Raises:
            SnapshotException: there is no such snapshot.
        """
        if not self._renewed(snapshot_id):
            self.forget()
        return self.get(snapshot_id)

    def _renewed(self, snapshot_id: str) -> bool:
        now = self._clock.now()
        if 0 <= now - self._seen_at.get(snapshot_id, float("-inf")) < _SEEN_S:
            return True
        with self._database.read() as connection:
            here = records.snapshot_is_new(connection, snapshot_id, now)
        if not here:
            with self._database.write() as connection:
                here = records.renew_snapshot(connection, snapshot_id, now)
        if here:
            self._seen_at = dict([*self._seen_at.items(), (snapshot_id, now)][-_KEPT_SNAPSHOTS:])
        return here

    def forget(self) -> None:
        """Some may be gone: none is kept at hand."""
        self._recent = {}
        self._seen_at = {}

    def get(self, snapshot_id: str) -> Manifest:
        """The tree.

        Raises:
            SnapshotException: there is no such snapshot.
        """
        manifest = self._recent.get(snapshot_id)
        if manifest is not None:
            return manifest
        with self._database.read() as connection:
            manifest = records.snapshot(connection, snapshot_id)
        if manifest is None:
            raise SnapshotException(
                f"There is no snapshot {snapshot_id[:80]!r} in this workspace. A run's get_snapshot_id() names its own."
            )
        if len(manifest.files) <= _KEPT_FILES:
            # Replaced, not changed: other threads read it.
            recent = [*self._recent.items(), (snapshot_id, manifest)]
            self._recent = dict(recent[-_KEPT_SNAPSHOTS:])
        return manifest

    def read(self, snapshot_id: str, path: str, limit: int) -> bytes:
        """The first bytes of one file of the tree, at most ``limit``.

        Raises:
            SnapshotException: there is no such snapshot, or no such file in it.
        """
        entry = next((entry for entry in self.get(snapshot_id).files if entry.path == path), None)
        if entry is None:
            raise SnapshotException(f"The snapshot {snapshot_id[:80]!r} has no file {path[:200]!r}.")
        with self._store.path(entry.digest).open("rb") as source:
            return source.read(limit)

    def pack(self, snapshot_id: str) -> list[Outgoing]:
        """The whole tree: first the manifest as JSON, then each content once, named by digest.

        Raises:
            SnapshotException: there is no such snapshot.
        """
        manifest = self.get(snapshot_id)
        listed = json.dumps(to_json(manifest)).encode("utf-8")
        contents = {entry.digest: entry.size for entry in manifest.files}
        return [
            Outgoing(MANIFEST_ENTRY, len(listed), data=listed),
            *(Outgoing(digest, size, self._store.path(digest)) for digest, size in contents.items()),
        ]
