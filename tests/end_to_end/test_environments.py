"""Environments of real runs: built once, told apart, registered, noticed when damaged. No package index is needed."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runyard import CondaDependencies, Environment, Run, Workspace
from runyard.errors import EnvironmentException
from runyard_server.testing.wheels import make_wheel

Submit = Callable[..., Run]

BUILD_LOG = "azureml-logs/20_image_build_log.txt"
WHERE = "import sys, alpha\nprint(alpha.version, sys.prefix)\n"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that packages are taken from: alpha 1.0 and 2.0, beta 1.0, which needs alpha below 2."""
    folder = tmp_path_factory.mktemp("wheels")
    make_wheel(folder, "alpha", "1.0")
    make_wheel(folder, "alpha", "2.0")
    make_wheel(folder, "beta", "1.0", ["alpha<2"])
    return folder


@pytest.fixture
def packages(wheels: Path) -> Callable[..., Environment]:
    """An environment with these pip packages, from the folder alone."""

    def packages(*lines: str, name: str = "with-packages") -> Environment:
        environment = Environment(name)
        options = ["--no-index", f"--find-links {wheels}"]
        environment.python.conda_dependencies.set_pip_requirements([*options, *lines])
        return environment

    return packages


def said(run: Run) -> str:
    run.wait_for_completion()
    return run._read_log("azureml-logs/70_driver_log.txt").strip()


def key_of(run: Run) -> str:
    return str(run._refresh()["environment_key"])


def builds(home: Path, run: Run) -> list[str]:
    """The builds of the run's environment that this machine has: a folder each."""
    return sorted(entry.name for entry in (home / "environments" / key_of(run)).iterdir() if entry.is_dir())


def test_ten_runs_with_one_new_environment_build_it_once(
    submit: Submit, packages: Callable[..., Environment], runyard_home: Path
) -> None:
    runs = [submit(WHERE, environment=packages("alpha==1.0")) for _ in range(10)]
    told = {said(run) for run in runs}
    assert len(told) == 1
    assert told.pop().startswith("1.0 ")
    assert {key_of(run) for run in runs} == {key_of(runs[0])}
    assert builds(runyard_home, runs[0]) == ["1"]
    later = submit(WHERE, environment=packages("alpha==1.0", name="of-another-name"))
    assert said(later).startswith("1.0 ")
    assert key_of(later) == key_of(runs[0])
    assert BUILD_LOG not in later.get_file_names()


def test_two_environments_do_not_meet(submit: Submit, packages: Callable[..., Environment]) -> None:
    older, newer = (submit(WHERE, environment=packages(f"alpha=={version}")) for version in ("1.0", "2.0"))
    assert said(older).split()[0] == "1.0"
    assert said(newer).split()[0] == "2.0"
    assert said(older).split()[1] != said(newer).split()[1]
    assert key_of(older) != key_of(newer)


def test_a_damaged_environment_is_noticed_and_built_anew(
    submit: Submit, packages: Callable[..., Environment], runyard_home: Path
) -> None:
    environment = packages("beta")
    script = "import beta, alpha, sys\nprint(beta.version, alpha.version, sys.prefix)\n"
    first = submit(script, environment=environment)
    prefix = Path(said(first).split()[-1])
    (module,) = prefix.glob("lib/python*/site-packages/beta.py")
    module.unlink()  # it may be linked to the package cache, which is another file's loss
    module.write_text("")
    second = submit(script, environment=environment)
    assert said(second).startswith("1.0 1.0 ")
    assert said(second) != said(first)
    assert "is damaged: " in second._read_log(BUILD_LOG)
    assert key_of(second) == key_of(first)
    assert builds(runyard_home, second) == ["1", "2"]
    third = submit(script, environment=environment)
    assert said(third) == said(second)
    assert BUILD_LOG not in third.get_file_names()


def test_a_registered_environment_is_got_and_run_by_name_and_version(
    submit: Submit, workspace: Workspace, packages: Callable[..., Environment]
) -> None:
    first = packages("alpha==1.0", name="mine").register(workspace)
    assert (first.name, first.version) == ("mine", "1")
    assert packages("alpha==1.0", name="mine").register(workspace).version == "1"
    assert packages("alpha==2.0", name="mine").register(workspace).version == "2"
    assert [each.version for each in Environment.versions(workspace, "mine")] == ["1", "2"]
    assert Environment.list(workspace)["mine"].version == "2"
    newest = submit(WHERE, environment=Environment.get(workspace, "mine"))
    oldest = submit(WHERE, environment=Environment.get(workspace, "mine", version="1"))
    assert said(newest).startswith("2.0 ")
    assert said(oldest).startswith("1.0 ")
    said_of = oldest.get_details()["runDefinition"]["environment"]
    assert (said_of["name"], said_of["version"]) == ("mine", "1")
    assert (oldest.get_environment().name, oldest.get_environment().version) == ("mine", "1")
    with pytest.raises(EnvironmentException, match=r"has no version '3'. Versions: 1, 2"):
        Environment.get(workspace, "mine", version="3")


def test_a_requirements_file_makes_an_environment(submit: Submit, wheels: Path, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(f"--no-index\n--find-links {wheels}\nalpha<2  # the older one\n")
    environment = Environment.from_pip_requirements("from-requirements", str(file))
    assert said(submit(WHERE, environment=environment)).startswith("1.0 ")


def test_a_conda_file_makes_an_environment_with_its_python_packages_and_variables(
    submit: Submit, wheels: Path, tmp_path: Path
) -> None:
    version = "{}.{}".format(*sys.version_info)
    file = tmp_path / "environment.yml"
    file.write_text(
        f"name: from-conda\ndependencies:\n- python={version}\n- pip\n- pip:\n  - --no-index\n"
        f"  - --find-links {wheels}\n  - alpha==2.0\nvariables:\n  GREETING: good day\n"
    )
    environment = Environment.from_conda_specification("from-conda", str(file))
    script = "import alpha, os, sys\nprint(alpha.version, os.environ['GREETING'], '%d.%d' % sys.version_info[:2])\n"
    assert said(submit(script, environment=environment)) == f"2.0 good day {version}"


def test_conda_packages_that_pip_has_are_taken_from_there_and_the_log_says_so(submit: Submit, wheels: Path) -> None:
    environment = Environment("conda-names")
    environment.python.conda_dependencies = CondaDependencies.create(conda_packages=["alpha=1.0"])
    environment.python.conda_dependencies.set_pip_option("--no-index")
    environment.python.conda_dependencies.set_pip_option(f"--find-links {wheels}")
    run = submit(WHERE, environment=environment)
    assert said(run).startswith("1.0 ")
    assert "alpha" in run._read_log(BUILD_LOG).partition("Building environment")[0]


def test_variables_change_what_a_script_sees_and_nothing_that_is_built(
    submit: Submit, packages: Callable[..., Environment], runyard_home: Path
) -> None:
    script = "import os\nprint(os.environ['MODE'])\n"
    runs = []
    for mode in ("fast", "slow"):
        environment = packages("alpha==1.0")
        environment.environment_variables["MODE"] = mode
        runs.append(submit(script, environment=environment))
    assert [said(run) for run in runs] == ["fast", "slow"]
    assert key_of(runs[0]) == key_of(runs[1])
    assert builds(runyard_home, runs[0]) == ["1"]


def test_a_package_that_does_not_exist_fails_the_run_with_its_name(
    submit: Submit, packages: Callable[..., Environment]
) -> None:
    run = submit("print('never')\n", environment=packages("no-such-package-anywhere"))
    run.wait_for_completion(raise_on_error=False)
    assert run.get_status() == "Failed"
    assert "no-such-package-anywhere" in run.get_details()["error"]["error"]["message"]
    assert "no-such-package-anywhere" in run._read_log(BUILD_LOG)


def test_a_user_managed_interpreter_is_used_as_it_is(submit: Submit, tmp_path: Path) -> None:
    home = tmp_path / "own"
    os.symlink(sys.prefix, home)
    python = home / "bin" / "python"
    environment = Environment("own")
    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = str(python)
    environment.python.conda_dependencies.add_pip_package("alpha")  # is not installed: the interpreter is the user's
    run = submit("import importlib.util\nprint(importlib.util.find_spec('alpha'))\n", environment=environment)
    assert said(run) == "None"
    assert BUILD_LOG not in run.get_file_names()
    assert run._refresh().get("environment_key") is None


def test_an_environment_that_was_built_ahead_stands_when_its_first_run_comes(
    workspace: Workspace, submit: Submit, packages: Callable[..., Environment], capsys: pytest.CaptureFixture[str]
) -> None:
    environment = packages("beta==1.0", name="built-ahead")
    built = environment.build(workspace).wait_for_completion(show_output=True)
    assert built.status == "Succeeded"
    assert "The environment is ready: " in capsys.readouterr().out
    assert "The environment is ready: " in built.get_log()
    run = submit(WHERE, environment=environment)
    assert said(run).startswith("1.0 ")
    assert BUILD_LOG not in run.get_file_names(), "nothing was left to build"
    assert environment.build_local(workspace).status == "Succeeded"


def test_a_build_that_fails_says_why_and_raises_where_it_is_waited_for(
    workspace: Workspace, packages: Callable[..., Environment]
) -> None:
    environment = packages("no-such-package-anywhere")
    failed = environment.build(workspace).wait_for_completion(show_output=False)
    assert failed.status == "Failed"
    assert "no-such-package-anywhere" in failed.get_log()
    with pytest.raises(EnvironmentException, match="could not be built:\n[^$]*no-such-package-anywhere"):
        environment.build_local(workspace)
