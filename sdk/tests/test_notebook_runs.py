"""A notebook as a run's script: its parameters, its command, and what is told of a failed cell."""

import json

import pytest

from runyard.errors import UserErrorException
from runyard.job.notebook import output_path, readied, told
from runyard.notebook_parameters import parameters


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--epochs", "3", "--rate", "1e-3"], {"epochs": 3, "rate": 0.001}),
        (["--batch-size", "50"], {"batch_size": 50}),
        (["--batch_size=50", "--url=a=b"], {"batch_size": 50, "url": "a=b"}),
        (["-p", "epochs", "3", "-p", "name", "--x"], {"epochs": 3, "name": "--x"}),
        (["--verbose", "--shift", "-3", "--last"], {"verbose": True, "shift": -3, "last": True}),
        (
            ["--a", "True", "--b", "None", "--c", "", "--d", "/data/mnist"],
            {"a": True, "b": None, "c": "", "d": "/data/mnist"},
        ),
        ([], {}),
    ],
)
def test_arguments_become_parameters_by_name_with_values_of_their_kind(arguments, wanted):
    assert parameters(arguments) == wanted


@pytest.mark.parametrize("arguments", [["3"], ["--epochs", "3", "4"], ["--a.b", "1"], ["-p", "a b", "1"]])
def test_what_can_be_no_parameter_is_refused(arguments):
    with pytest.raises(UserErrorException, match="parameter"):
        parameters(arguments)


def test_each_rank_has_an_output_of_its_own():
    assert output_path("lib/train.ipynb", "0") == "outputs/train.output.ipynb"
    assert output_path("lib/train.ipynb", "2") == "outputs/train.rank-2.output.ipynb"


def test_a_notebook_that_names_no_kernel_is_taken_for_python(tmp_path):
    notebook = tmp_path / "x.ipynb"
    notebook.write_text(json.dumps({"cells": [], "nbformat": 4}))
    assert readied(str(notebook))["metadata"]["kernelspec"]["language"] == "python"
    kernel = {"name": "azureml_py36", "display_name": "Python 3.6 - AzureML"}
    notebook.write_text(json.dumps({"cells": [], "metadata": {"kernelspec": kernel}, "nbformat": 4}))
    assert readied(str(notebook))["metadata"]["kernelspec"] == dict(kernel, language="python")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (json.dumps({"metadata": {"kernelspec": {"name": "ir", "language": "R"}}}), "is written in R"),
        ("import this", "is no notebook"),
    ],
)
def test_what_is_no_notebook_in_python_is_refused(tmp_path, content, says):
    notebook = tmp_path / "x.ipynb"
    notebook.write_text(content)
    with pytest.raises(UserErrorException, match=says):
        readied(str(notebook))


def test_a_failed_cell_is_told_by_its_own_traceback():
    shown = [
        "-" * 75,
        "\x1b[31mValueError\x1b[0m      Traceback (most recent call last)",
        "Cell In[2]",
        "ValueError: no",
    ]
    assert told("x.ipynb", "outputs/x.output.ipynb", 2, shown) == (
        "Cell [2] of x.ipynb has failed. outputs/x.output.ipynb shows how far it came.\n\n"
        "Traceback (most recent call last):\nCell In[2]\nValueError: no\n"
    )
