"""Executors are found by name, and say what they miss."""

import pytest

from runyard_server.executors import registry
from runyard_server.executors.base import Executor
from runyard_server.executors.local import LocalExecutor
from runyard_server.executors.registry import MissingExtraError, UnknownExecutorError, create_executor, executor_class


@pytest.mark.parametrize("name", sorted(registry.EXECUTORS))
def test_every_name_of_the_table_is_an_executor_of_that_name(name: str) -> None:
    found = executor_class(name)
    assert issubclass(found, Executor)
    assert found.name == name


def test_an_executor_is_built_with_its_settings() -> None:
    executor = create_executor("local", sdk_path=None)
    assert type(executor) is LocalExecutor
    executor.close()


def test_an_unknown_name_is_answered_with_those_that_are() -> None:
    with pytest.raises(UnknownExecutorError, match="There is no executor 'kubernetes'. This server has: local"):
        executor_class("kubernetes")


def test_a_missing_package_is_answered_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.EXECUTORS, "far", "a_package_that_is_not_there.far:FarExecutor")
    monkeypatch.setitem(registry.EXTRAS, "far", "far")
    with pytest.raises(MissingExtraError) as failure:
        executor_class("far")
    assert "Executor 'far' needs the package 'a_package_that_is_not_there'" in str(failure.value)
    assert "uv pip install 'runyard-server[far]'" in str(failure.value)


def test_something_else_than_an_executor_is_not_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.EXECUTORS, "odd", "json:dumps")
    with pytest.raises(TypeError, match="json:dumps is not an Executor"):
        executor_class("odd")
