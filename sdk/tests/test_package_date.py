"""The day as of which packages are taken: from the environment, from the variable, and what is no day."""

import datetime

import pytest

from runyard.cli.submit import environment_text
from runyard.environment import Environment
from runyard.errors import EnvironmentException
from runyard.estimators import Estimator
from runyard.package_date import VARIABLE
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.environments import EnvironmentSpec
from runyard.run_spec import build
from runyard.script_run_config import ScriptRunConfig


@pytest.fixture
def source(tmp_path):
    (tmp_path / "train.py").write_text("")
    return str(tmp_path)


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def test_an_environment_names_its_day_and_keeps_it_on_the_wire():
    environment = Environment("old")
    environment.packages_as_of = datetime.date(2019, 8, 13)
    spec = environment.to_spec()
    assert spec.packages_as_of == "2019-08-13"
    assert from_json(EnvironmentSpec, to_json(spec)) == spec
    assert Environment.from_spec(spec).packages_as_of == "2019-08-13"
    assert environment.clone("other").to_spec().packages_as_of == "2019-08-13"


def test_the_variable_gives_the_day_of_runs_that_name_none(source, monkeypatch):
    monkeypatch.setenv(VARIABLE, "2019-08-13")
    config = ScriptRunConfig(source, "train.py")
    assert build(config, "e").environment.packages_as_of == "2019-08-13"
    estimator = Estimator(source, entry_script="train.py", compute_target="local", conda_packages=["scikit-learn"])
    assert build(estimator, "e").environment.packages_as_of == "2019-08-13"
    config.run_config.environment = Environment("mine")
    config.run_config.environment.packages_as_of = "2020-02-02"
    assert build(config, "e").environment.packages_as_of == "2020-02-02"


def test_the_variable_is_a_runs_and_no_part_of_an_environment_that_is_registered(monkeypatch):
    monkeypatch.setenv(VARIABLE, "2019-08-13")
    assert Environment("old").to_spec().packages_as_of is None


def test_an_interpreter_that_its_owner_keeps_has_no_day(source, monkeypatch):
    monkeypatch.setenv(VARIABLE, "2019-08-13")
    environment = Environment("mine")
    environment.python.user_managed_dependencies = True
    config = ScriptRunConfig(source, "train.py", environment=environment)
    assert build(config, "e").environment.packages_as_of is None


def test_without_either_packages_are_the_newest(source, monkeypatch):
    assert build(ScriptRunConfig(source, "train.py"), "e").environment.packages_as_of is None
    monkeypatch.setenv(VARIABLE, "")
    assert build(ScriptRunConfig(source, "train.py"), "e").environment.packages_as_of is None


@pytest.mark.parametrize("day", ["today", "2019-02-30", "2019-8-13", "13/08/2019", "2019-08-13 12:00"])
def test_what_is_no_day_is_refused_before_anything_is_sent(source, monkeypatch, day):
    monkeypatch.setenv(VARIABLE, day)
    with pytest.raises(EnvironmentException, match="RUNYARD_PACKAGES_AS_OF is a day such as '2019-08-13'"):
        build(ScriptRunConfig(source, "train.py"), "e")
    environment = Environment("old")
    environment.packages_as_of = day
    with pytest.raises(EnvironmentException, match="packages_as_of is a day such as '2019-08-13'"):
        environment.to_spec()


def test_a_day_before_the_oldest_python_is_refused_with_the_first_that_serves():
    environment = Environment("old")
    environment.packages_as_of = "2017-01-01"
    with pytest.raises(
        EnvironmentException, match="before 2018-06-27 was made for Python 3.7.* Give that day or a later"
    ):
        environment.to_spec()


def test_the_command_line_shows_the_day():
    shown = environment_text(to_json(EnvironmentSpec(pip_packages=["six"], packages_as_of="2019-08-13")))
    assert shown == "1 package, as of 2019-08-13"
