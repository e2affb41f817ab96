"""Azure's words for a notebook as what is run."""

import pytest

from runyard import run_spec
from runyard.errors import UserErrorException
from runyard.notebook_parameters import parameters
from runyard.notebook_run_config import AzureMLNotebookHandler, NotebookRunConfig
from runyard.runconfig import RunConfiguration


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sample.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 2}')
    return str(tmp_path)


def test_a_notebook_config_is_the_run_of_a_notebook_with_its_parameters(folder):
    run_config = RunConfiguration()
    run_config.max_run_duration_seconds = 60
    given = {"arg1": "Machine Learning", "epochs": 3, "rate": 0.001, "verbose": True, "seed": None}
    spec = run_spec.build(NotebookRunConfig(folder, "sample.ipynb", None, given, run_config=run_config), "exp")
    assert spec.script == "sample.ipynb" and spec.max_run_duration_s == 60
    assert parameters(spec.arguments) == given


@pytest.mark.parametrize("value", ["5", "1e3", "True", "None", [1], {"a": 1}, float("nan")])
def test_a_parameter_that_would_arrive_as_something_else_is_refused(folder, value):
    with pytest.raises(UserErrorException, match="The parameter x cannot be handed to the notebook as"):
        NotebookRunConfig(folder, "sample.ipynb", parameters={"x": value})


@pytest.mark.parametrize("output", [None, "sample.output.ipynb", "outputs/sample.output.ipynb"])
def test_the_notebook_with_its_outputs_has_one_place(folder, output):
    assert NotebookRunConfig(folder, "sample.ipynb", output_notebook=output).script == "sample.ipynb"
    with pytest.raises(UserErrorException, match="kept with its outputs as outputs/sample.output.ipynb"):
        NotebookRunConfig(folder, "sample.ipynb", output_notebook="elsewhere.ipynb")


def test_a_script_is_no_notebook(folder):
    with pytest.raises(UserErrorException, match="notebook is the path of a file such as 'train.ipynb'"):
        NotebookRunConfig(folder, "train.py")


def test_a_handlers_limit_has_no_effect_and_is_said_to_have_none(capsys):
    AzureMLNotebookHandler(progress_bar=False)
    assert capsys.readouterr().err == ""
    AzureMLNotebookHandler(timeout=600)
    assert "AzureMLNotebookHandler: timeout accepted and not used" in capsys.readouterr().err
