"""Locks of folders that several processes work in. The kernel lets go of one when its holder is killed."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runyard.errors import RunyardError


@contextmanager
def held(path: Path, refused: RunyardError, shared: bool = False) -> Iterator[None]:
    """While a lock file is held, alone or together with others that share it; raises ``refused`` where it is not free."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refused from None
        yield
    finally:
        os.close(descriptor)
