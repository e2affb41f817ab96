"""What a folder grows by while a long curve is logged into it."""

import math
import random
from collections.abc import Callable
from pathlib import Path

Log = Callable[[float, int], object]
Close = Callable[[], object]

_FEW = 10


def bytes_per_point(folder: Path, open_run: Callable[[], tuple[Log, Close]], points: int) -> float:
    """Bytes for each point of a run of so many, once it has ended, without those that a run has whatever its length."""
    _logged(open_run, _FEW)  # makes what a first run makes
    first = _size(folder)
    _logged(open_run, _FEW)
    second = _size(folder)
    _logged(open_run, points)
    return (_size(folder) - second - (second - first)) / (points - _FEW)


def _logged(open_run: Callable[[], tuple[Log, Close]], points: int) -> None:
    """The noisy loss that is logged with runyard, too."""
    log, close = open_run()
    noise = random.Random(1)
    for step in range(points):
        log(math.exp(-step / points) + noise.random() / 10, step)
    close()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
