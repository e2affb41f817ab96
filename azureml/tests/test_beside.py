"""Beside Microsoft's packages, which have the same import names, ours refuses and says the cure."""

import os
import shutil
import subprocess
import sys

import pytest

import azureml
from azureml._beside import owners


def installed(folder, name, files):
    """The metadata that pip leaves of a package; gives the folder."""
    metadata = folder / name
    metadata.mkdir(parents=True)
    for file, text in files.items():
        (metadata / file).write_text(text)
    return folder


def imported(*folders, **variables):
    """``import azureml`` in a process of its own, with folders to import from besides our own."""
    paths = os.pathsep.join([path for path in sys.path if path] + [str(folder) for folder in folders])
    environment = dict(os.environ, PYTHONPATH=paths, **variables)
    return subprocess.run(
        [sys.executable, "-c", "import azureml.core; print(azureml.core.VERSION)"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_beside_microsofts_packages_the_import_says_how_to_remove_them(tmp_path):
    installed(tmp_path, "azureml_core-1.61.0.dist-info", {"RECORD": "azureml/core/__init__.py,,\n"})
    installed(tmp_path, "azureml_widgets-1.61.0.dist-info", {"top_level.txt": "azureml\n"})

    done = imported(tmp_path)

    assert done.returncode != 0
    assert "ImportError: runyard-azureml cannot be used beside Microsoft's azureml-core, azureml-widgets" in done.stderr
    assert "-m pip uninstall -y azureml-core azureml-widgets" in done.stderr
    assert "-m pip install --force-reinstall --no-deps runyard-azureml" in done.stderr


# As Microsoft's loads its plugins, from 2019 to 2025: what is wrong with one is logged, and the import goes on.
THEIR_CORE = """
try:
    import azureml._overwritten
except Exception as fault:
    print("a plugin could not be loaded", fault)
VERSION = "1.61.0"
"""


def test_microsofts_core_that_was_installed_over_ours_is_refused_by_a_plugin_of_ours(tmp_path):
    shutil.copytree(os.path.dirname(azureml.__file__), str(tmp_path / "azureml"))
    (tmp_path / "azureml" / "__init__.py").write_text("")
    (tmp_path / "azureml" / "core" / "__init__.py").write_text(THEIR_CORE)
    installed(tmp_path, "azureml_core-1.61.0.dist-info", {"RECORD": "azureml/core/__init__.py,,\n"})

    done = subprocess.run(
        [sys.executable, "-c", "import azureml.core; print(azureml.core.VERSION)"],
        env=dict(os.environ, PYTHONPATH=str(tmp_path)),
        cwd=str(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert "Overwritten: runyard-azureml cannot be used beside Microsoft's azureml-core" in done.stderr
    assert "-m pip uninstall -y azureml-core" in done.stderr


def test_a_scripts_job_uses_ours_whatever_its_interpreter_has(tmp_path):
    installed(tmp_path, "azureml_core-1.61.0.dist-info", {"RECORD": "azureml/core/__init__.py,,\n"})

    done = imported(tmp_path, RUNYARD_RUN_SPOOL=str(tmp_path / "spool"))

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("azureml_inference_server_http-1.0.dist-info", {"RECORD": "azureml_inference_server_http/__init__.py,,\n"}),
        ("azureml_fsspec-1.0.egg-info", {"top_level.txt": "azureml_fsspec\n"}),
        ("runyard_azureml-0.1.0.dist-info", {"RECORD": "azureml/__init__.py,,\n"}),
        ("azureml_empty-1.0.dist-info", {}),
    ],
)
def test_a_package_with_a_folder_of_its_own_is_no_obstacle(tmp_path, name, files):
    assert owners([str(installed(tmp_path, name, files))]) == []


def test_folders_that_are_gone_are_passed_over(tmp_path):
    installed(tmp_path / "site", "azureml_core-1.0.57-py3.6.egg-info", {"top_level.txt": "azureml\n"})

    assert owners([str(tmp_path / "gone"), str(tmp_path / "site")]) == ["azureml-core"]
