"""A server over an engine in memory, whose jobs and clock the tests move."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard_server.testing.yard import Yard


@pytest.fixture
def make_yard(tmp_path: Path) -> Iterator[Callable[..., Yard]]:
    made = []

    def make(**options: Any) -> Yard:
        made.append(Yard(tmp_path, **options))
        return made[-1]

    yield make
    for yard in made:
        yard.close()


@pytest.fixture
def yard(make_yard: Callable[..., Yard]) -> Yard:
    return make_yard()
