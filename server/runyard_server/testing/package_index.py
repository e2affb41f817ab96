"""A package index of its own, served over HTTP: what may go wrong with a real one goes wrong here when a test says so.

It speaks the simple API (PEP 503, 592, 658, 691, 700) over a folder of wheels and source archives.
"""

import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

from runyard_server.testing.web import MisbehavingServer
from runyard_server.testing.wheels import make_source, make_wheel


class PackageIndex(MisbehavingServer):
    """Serves the wheels below ``folder`` at ``url`` until ``stop``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._uploaded: dict[str, str] = {}
        self._yanked: dict[str, str] = {}
        super().__init__()

    @property
    def url(self) -> str:
        """What goes into ``--index-url``."""
        return f"{self.address}/simple/"

    def publish(
        self,
        name: str,
        version: str,
        requires: Sequence[str] = (),
        content: str = "",
        uploaded_at: str = "2026-01-01T00:00:00Z",
    ) -> Path:
        """Adds a wheel, or puts other bytes in the place of one that has this name and version."""
        wheel = make_wheel(self._folder, name, version, requires, content)
        self._uploaded[wheel.name] = uploaded_at
        return wheel

    def publish_source(self, name: str, version: str, setup: str) -> Path:
        """Adds an archive of source with this ``setup.py``, or puts other bytes in its place."""
        return make_source(self._folder, name, version, setup)

    def yank(self, wheel: Path, reason: str) -> None:
        """Marks a file as one that nobody should choose any more; it is still served (PEP 592)."""
        self._yanked[wheel.name] = reason

    def withdraw(self, wheel: Path) -> None:
        """Deletes a file."""
        wheel.unlink()

    def content(self, path: str) -> tuple[int, str, bytes]:
        kind, _, name = path.strip("/").partition("/")
        wheel = self._folder / name.removesuffix(".metadata")
        if kind == "files" and wheel.is_file():
            content = wheel.read_bytes() if name == wheel.name else _metadata(wheel)
            return 200, "application/octet-stream", content
        wheels = self._files_of(name) if kind == "simple" else []
        if not wheels:
            return 404, "text/plain", b"not found"
        page = {"meta": {"api-version": "1.1"}, "name": name, "files": [self._entry(wheel) for wheel in wheels]}
        return 200, "application/vnd.pypi.simple.v1+json", json.dumps(page).encode()

    def _files_of(self, name: str) -> list[Path]:
        stem = name.replace("-", "_")
        return sorted([*self._folder.glob(f"{stem}-*.whl"), *self._folder.glob(f"{stem}-*.tar.gz")])

    def _entry(self, wheel: Path) -> dict[str, object]:
        content = wheel.read_bytes()
        is_wheel = wheel.suffix == ".whl"
        return {
            "filename": wheel.name,
            "url": f"/files/{wheel.name}",
            "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
            "core-metadata": {"sha256": hashlib.sha256(_metadata(wheel)).hexdigest()} if is_wheel else False,
            "size": len(content),
            "upload-time": self._uploaded.get(wheel.name, "2026-01-01T00:00:00Z"),
            "yanked": self._yanked.get(wheel.name, False),
        }


def _metadata(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return archive.read(name)
