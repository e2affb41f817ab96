"""What an engine showed is kept, and asked for again, whatever comes between."""

import threading

import pytest

from runyard_server.executors.look import Glance, Lookout
from runyard_server.testing import own_network


def no_threads(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_glance_that_no_thread_could_take_is_taken_by_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    glance: Glance[str, int] = Glance(good_for_s=60.0)
    with monkeypatch.context() as short_of_threads:
        short_of_threads.setattr(threading.Thread, "start", no_threads)
        with pytest.raises(RuntimeError):
            glance.last("key", lambda: 1, most_s=60.0)
    own_network.until(lambda: glance.last("key", lambda: 1, most_s=60.0) == 1, "the answer")


def test_a_look_that_no_thread_could_take_is_taken_by_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    lookout = Lookout(lambda: {"job": 1})
    with monkeypatch.context() as short_of_threads:
        short_of_threads.setattr(threading.Thread, "start", no_threads)
        with pytest.raises(RuntimeError):
            lookout.latest()
    own_network.until(lambda: lookout.latest().jobs == {"job": 1}, "the look")
