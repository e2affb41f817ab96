"""What nodes fetch that do not see the server's folder: the SDK as one archive, uv, and wheels that were compiled here."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

from runyard.errors import UserErrorException


class JobArchive:
    """The SDK that jobs bring along, as a zip of the same bytes wherever it is made of the same files.

    Args:
        sdk: the folder whose packages are in it.
        uv: gives the path of the server's own uv.
        wheel: gives the path of a compiled wheel by its digest, None where there is none.
    """

    def __init__(self, sdk: Path, uv: Callable[[], str], wheel: Callable[[str], Path | None]) -> None:
        self._sdk = sdk
        self._uv = uv
        self._wheel = wheel
        self._lock = threading.Lock()
        self._bytes = b""
        self._digest = ""

    @property
    def digest(self) -> str:
        """SHA-256 of the archive, which names it."""
        with self._lock:
            if not self._bytes:
                self._bytes = _zipped(self._sdk)
                self._digest = hashlib.sha256(self._bytes).hexdigest()
            return self._digest

    def read(self, digest: str) -> bytes:
        """The archive.

        Raises:
            UserErrorException: a server of another version had made that one.
        """
        if digest != self.digest:
            raise UserErrorException(
                f"This server has no archive {digest[:16]}: it was updated after the run was handed to its engine. "
                "Submit the run again."
            )
        return self._bytes

    def uv(self) -> Path:
        """The server's uv.

        Raises:
            EnvironmentException: it has none.
        """
        return Path(self._uv())

    def wheel(self, digest: str) -> Path:
        """A wheel that was compiled here.

        Raises:
            UserErrorException: it is not here any more.
        """
        found = self._wheel(digest)
        if found is None:
            raise UserErrorException(f"This server has no wheel {digest[:16]} any more. Submit the run again.")
        return found


def _zipped(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*.py")):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())  # of a fixed date
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return packed.getvalue()
