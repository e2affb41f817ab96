"""One content made of several files, one after the other."""

from collections.abc import Sequence
from pathlib import Path

from runyard_server.artifacts.store import ObjectStore

_PIECE = 4 << 20


def joined(store: ObjectStore, parts: Sequence[Path], size: int) -> tuple[str, int]:
    """Puts the files' bytes into the store as one content; gives its digest and its size in bytes.

    Each file is removed once it was read: the disk needs room for one of them more, and not for all.

    Args:
        size: of all of them together, in bytes.
    Raises:
        StorageFullError: it does not fit on the disk. Those that were read are gone.
    """
    incoming = store.begin(size)
    try:
        for part in parts:
            with part.open("rb") as source:
                while piece := source.read(_PIECE):
                    incoming.write(piece)
            part.unlink()
        return store.keep_new(incoming, size), size
    except BaseException:
        incoming.discard()
        raise
