"""``tools/bootstrap.py`` makes ``.venv`` once, wherever the checkout lies, and again when what it is made from changes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.network, pytest.mark.slow]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """What the bootstrap reads, in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("a checkout")
    for name in ("sdk", "server", "azureml", "requirements", "tools"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    return folder


def _bootstrap(checkout, **variables):
    environment = dict(os.environ, **variables)
    environment.pop("VIRTUAL_ENV", None)
    command = [sys.executable, str(checkout / "tools" / "bootstrap.py")]
    done = subprocess.run(command, cwd=checkout.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_first_call_installs_and_the_next_one_finds_nothing_to_do(checkout):
    first = _bootstrap(checkout, PYTHONDONTWRITEBYTECODE="1")
    made_at = (checkout / ".venv" / "pyvenv.cfg").stat().st_mtime_ns
    second = _bootstrap(checkout)

    assert "installing" in first
    assert second == ""
    assert (checkout / ".venv" / "pyvenv.cfg").stat().st_mtime_ns == made_at


def test_the_three_packages_of_the_checkout_are_what_is_imported(checkout):
    _bootstrap(checkout)
    code = "import runyard, runyard_server, azureml; print(runyard.__path__[0], runyard_server.__path__[0], azureml.__path__[0])"
    command = [str(checkout / ".venv" / "bin" / "python"), "-c", code]
    done = subprocess.run(command, cwd=checkout.parent, capture_output=True, text=True, check=True)

    expected = [checkout / "sdk" / "runyard", checkout / "server" / "runyard_server", checkout / "azureml" / "azureml"]
    assert done.stdout.strip() == " ".join(map(str, expected))


def test_changed_pins_make_it_anew(checkout):
    _bootstrap(checkout)
    with open(checkout / "requirements" / "dev.in", "a") as pins:
        pins.write("# a remark in the wishes changes nothing\n")
    unchanged = _bootstrap(checkout)
    with open(checkout / "requirements" / "dev.txt", "a") as pins:
        pins.write("# a changed line in the pins\n")
    changed = _bootstrap(checkout)

    assert (unchanged, "installing" in changed) == ("", True)


def test_an_interrupted_installation_is_made_anew(checkout):
    _bootstrap(checkout)
    (checkout / ".venv" / "runyard-installed").unlink()  # written last, so a killed bootstrap has not written it

    assert "installing" in _bootstrap(checkout)
