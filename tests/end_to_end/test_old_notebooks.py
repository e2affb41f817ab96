"""Code of another year: packages as of its day, addresses that are gone. No network is needed."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runyard import Environment, Experiment, Run, Workspace
from runyard_server.testing.package_index import PackageIndex

Submit = Callable[..., Run]

BUILD_LOG = "azureml-logs/20_image_build_log.txt"
DRIVER_LOG = "azureml-logs/70_driver_log.txt"
OWN_PYTHON = "{}.{}".format(*sys.version_info)
WHICH = "import omega, sys\nprint(omega.version, '%d.%d' % sys.version_info[:2])\n"
FETCH = """
import urllib.request
from azureml.core import Run

print(open(urllib.request.urlretrieve("http://gone.example/exdb/mnist/labels.txt")[0]).read())
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackageIndex]:
    """An index with omega 1.0, of 2019, and 2.0, of this year."""
    index = PackageIndex(tmp_path_factory.mktemp("index"))
    index.publish("omega", "1.0", uploaded_at="2019-08-12T00:00:00Z")
    index.publish("omega", "2.0", uploaded_at="2026-01-01T00:00:00Z")
    yield index
    index.stop()


@pytest.fixture
def with_omega(index: PackageIndex) -> Callable[..., Environment]:
    """An environment with omega, whatever version, from the index alone."""

    def with_omega(python: str | None) -> Environment:
        environment = Environment("with-omega")
        packages = environment.python.conda_dependencies
        packages.set_pip_requirements([f"--index-url {index.url}", "omega"])
        if python is not None:
            packages.set_python_version(python)
        return environment

    return with_omega


def said(run: Run) -> list[str]:
    run.wait_for_completion()
    return run._read_log(DRIVER_LOG).splitlines()


def test_the_variable_makes_a_run_take_the_packages_of_its_day_and_a_rerun_takes_them_too(
    submit: Submit, workspace: Workspace, with_omega: Callable[..., Environment], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNYARD_PACKAGES_AS_OF", "2019-08-13")
    old = submit(WHICH, environment=with_omega(OWN_PYTHON))
    assert said(old) == [f"1.0 {OWN_PYTHON}"]
    assert "Packages are taken as of 2019-08-13" in old._read_log(BUILD_LOG)
    assert old.get_details()["runDefinition"]["environment"]["packagesAsOf"] == "2019-08-13"
    monkeypatch.delenv("RUNYARD_PACKAGES_AS_OF")
    assert said(submit(WHICH, environment=with_omega(OWN_PYTHON))) == [f"2.0 {OWN_PYTHON}"]
    assert said(submit(WHICH, environment=old.get_environment())) == [f"1.0 {OWN_PYTHON}"]


@pytest.mark.python37
def test_packages_of_2019_without_a_python_of_their_own_run_on_python_3_7(
    submit: Submit, with_omega: Callable[..., Environment], python37: str
) -> None:
    environment = with_omega(None)
    environment.packages_as_of = "2019-08-13"
    assert said(submit(WHICH, environment=environment)) == ["1.0 3.7"]


def test_a_script_reads_an_address_that_is_gone_from_the_file_that_the_map_names(
    submit: Submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "labels.txt").write_text("seven two one")
    urls = tmp_path / "urls.txt"
    urls.write_text("http://gone.example/exdb/mnist/ = .\n")
    monkeypatch.setenv("RUNYARD_URL_MAP", str(urls))
    run = submit(FETCH)
    assert said(run) == [
        f"runyard: urllib reads the addresses in {urls} from this machine's files, as RUNYARD_URL_MAP says.",
        "seven two one",
    ]
    variables = run.get_details()["runDefinition"]["environment"]["environmentVariables"]
    assert variables == {"RUNYARD_URL_MAP": str(urls)}


def test_a_map_that_is_gone_when_the_script_starts_is_named_by_the_runs_error(
    submit: Submit, this_python: Environment
) -> None:
    environment = this_python.clone("with-a-map")
    environment.environment_variables["RUNYARD_URL_MAP"] = os.path.join(os.sep, "nowhere", "urls.txt")
    run = submit(FETCH, environment=environment)
    run.wait_for_completion(raise_on_error=False)
    assert run.get_status() == "Failed"
    assert (
        "RUNYARD_URL_MAP names /nowhere/urls.txt, which cannot be read"
        in run.get_details()["error"]["error"]["message"]
    )


def test_a_day_that_is_none_is_refused_before_a_run_is_made(
    workspace: Workspace, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNYARD_PACKAGES_AS_OF", "August 2019")
    with pytest.raises(Exception, match="RUNYARD_PACKAGES_AS_OF is a day such as '2019-08-13'"):
        submit(WHICH, environment=Environment("plain"), experiment="never")
    assert list(Experiment(workspace, "never").get_runs()) == []
