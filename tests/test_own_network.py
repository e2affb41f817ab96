"""The networks that real engines stand in: what is told apart there is what keeps tests that run beside each other apart."""

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from runyard.job import processes
from runyard_server.testing import own_network
from runyard_server.testing.own_network import OwnNetwork


@contextmanager
def network(folder: Path) -> Iterator[tuple[OwnNetwork, int]]:
    """A network with one process in it."""
    folder.mkdir()
    made = OwnNetwork(folder, "host", {"n1": "10.9.0.1"}, {})
    with subprocess.Popen(made.enter(["sleep", "600"])) as stays, closing(made):
        own_network.until(lambda: processes.command_of(stays.pid)[:1] == ["sleep"], "a process inside")
        yield made, stays.pid


def test_of_two_networks_with_the_same_names_each_has_its_own_processes(tmp_path: Path) -> None:
    if own_network.missing():
        pytest.skip(own_network.missing())
    with network(tmp_path / "one") as (one, of_one), network(tmp_path / "other") as (other, of_other):
        assert (one.members(), other.members()) == ([of_one], [of_other])
        one.clear()
        assert one.members() == [] and not processes.is_alive(of_one)
        assert processes.is_alive(of_other)
