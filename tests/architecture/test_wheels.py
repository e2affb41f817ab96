"""The three wheels, really built: what each holds, needs and promises."""

import subprocess
import sys
import zipfile
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    if find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed: run `make test`")
    built = {}

    def build(folder):
        if folder not in built:
            target = tmp_path_factory.mktemp(folder)
            command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(target)]
            done = subprocess.run(command, cwd=ROOT / folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            [built[folder]] = target.glob("*.whl")
        return zipfile.ZipFile(built[folder])

    return build


def _metadata(wheel):
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(wheel.read(name).decode())


def _needs(wheel):
    return [line for line in _metadata(wheel).get_all("Requires-Dist", []) if "extra ==" not in line]


@pytest.mark.parametrize(
    ("folder", "package"), [("sdk", "runyard"), ("server", "runyard_server"), ("azureml", "azureml")]
)
def test_a_wheel_holds_its_whole_package_and_nothing_else(build, folder, package):
    with build(folder) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        licences = [name for name in wheel.namelist() if name.endswith("LICENSE")]

    sources = {str(path.relative_to(ROOT / folder)) for path in (ROOT / folder / package).rglob("*") if path.is_file()}
    assert held == {name for name in sources if "__pycache__" not in name}
    assert len(licences) == 1


def test_the_client_runs_on_python_3_7_and_needs_nothing(build):
    with build("sdk") as wheel:
        assert (_metadata(wheel)["Requires-Python"], _needs(wheel)) == (">=3.7", [])


def test_azureml_needs_the_client_alone(build):
    with build("azureml") as wheel:
        assert (_metadata(wheel)["Requires-Python"], _needs(wheel)) == (">=3.7", ["runyard"])


def test_microsofts_core_finds_a_plugin_of_ours_which_refuses_it(build):
    with build("azureml") as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
        plugins = wheel.read(name).decode().split()
        assert "azureml/_overwritten.py" in wheel.namelist()
    assert plugins == ["[azureml_run_type_providers]", "runyard", "=", "azureml._overwritten"]
