"""Rows of the framework table against today's package index: what they ask for is still there, and fits together."""

import os
import re

import pytest

from runyard.protocol.environments import EnvironmentLock, EnvironmentSpec
from runyard_server.environments.provision import Environments
from runyard_server.settings import load


def resolved(tmp_path_factory: pytest.TempPathFactory, spec: EnvironmentSpec) -> EnvironmentLock:
    environments = Environments(tmp_path_factory.getbasetemp() / "rows", None, load(".", os.environ).python_directories)
    return environments.resolve(spec, lambda _: None)


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize(
    ("framework", "version", "python", "pin"),
    [
        ("tensorflow", "2.0", "3.7", "tensorflow==2.0.3"),
        ("tensorflow", "2.3", None, "tensorflow-cpu==2.3.4"),
        ("pytorch", "1.0", "3.7", "torch==1.0.1"),
        ("pytorch", "1.6", None, "torch==1.6.0"),
        ("scikit-learn", "0.20.3", "3.7", "scikit-learn==0.20.3"),
        ("chainer", "5.1.0", "3.7", "chainer==5.1.0"),
        ("tensorflow", None, None, "tensorflow-cpu==2.21."),
        ("pytorch", None, None, "torch=="),
        ("scikit-learn", None, None, "scikit-learn==1.9."),
        ("chainer", None, None, "chainer==7.0.0"),
    ],
)
def test_a_row_resolves_to_its_version(
    tmp_path_factory: pytest.TempPathFactory, framework: str, version: str | None, python: str | None, pin: str
) -> None:
    lock = resolved(tmp_path_factory, EnvironmentSpec(framework=framework, framework_version=version))
    assert re.search(rf"^{re.escape(pin)}", lock.requirements, re.MULTILINE), lock.requirements
    assert python is None or lock.python_version == python


@pytest.mark.network
def test_todays_tensorflow_under_mpi_is_warned_of_the_keras_3_that_comes_with_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    lock = resolved(tmp_path_factory, EnvironmentSpec(framework="tensorflow", framework_version=None, mpi=True))
    (warning,) = lock.warnings
    keras = re.search(r"^keras==(3\.[\d.]+)", lock.requirements, re.MULTILINE)
    assert keras and warning.startswith(
        f"Keras {keras[1]} is in the environment, whose optimizers Horovod cannot average"
    )
    assert "TF_USE_LEGACY_KERAS=1" in warning
    assert [package.recipe for package in lock.compiled] == ["horovod-0.28.1-without-xla/1"]
