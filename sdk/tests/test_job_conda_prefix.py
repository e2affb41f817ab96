"""What a conda environment sets for the scripts that run in it: real shells, real scripts."""

import json
import os

import pytest

from runyard.job.conda_prefix import activated


@pytest.fixture
def prefix(tmp_path):
    prefix = tmp_path / "a prefix [1]"
    for folder in ("bin", "conda-meta", "etc/conda/activate.d", "etc/conda/env_vars.d"):
        (prefix / folder).mkdir(parents=True)
    return prefix


@pytest.fixture
def log():
    return []


@pytest.fixture
def variables(prefix, log):
    return lambda: activated(str(prefix / "bin" / "python"), log.append)


def script(prefix, name, text):
    (prefix / "etc" / "conda" / "activate.d" / name).write_text(text)


def test_an_environment_without_conda_sets_nothing(tmp_path, log):
    (tmp_path / "bin").mkdir()
    assert activated(str(tmp_path / "bin" / "python"), log.append) == {} and log == []


def test_programs_are_told_where_the_environment_lies(prefix, variables, log):
    assert variables() == {"CONDA_PREFIX": str(prefix), "CONDA_DEFAULT_ENV": str(prefix), "CONDA_SHLVL": "1"}
    assert log == []


def test_packages_set_variables_by_their_scripts_in_order(prefix, variables, log):
    script(prefix, "a.sh", 'export A_HOME="$CONDA_PREFIX/share/a"\nexport LINES_OF="one\ntwo"\n')
    script(prefix, "b.sh", 'export B_HOME="$A_HOME/b"\nexport PATH="$CONDA_PREFIX/more:$PATH"\nNOT_EXPORTED=1\n')
    found = variables()
    assert found["A_HOME"] == str(prefix / "share" / "a")
    assert (found["B_HOME"], found["LINES_OF"]) == (str(prefix / "share" / "a" / "b"), "one\ntwo")
    assert found["PATH"].split(os.pathsep)[:2] == [str(prefix / "more"), str(prefix / "bin")]
    assert "NOT_EXPORTED" not in found and not any(name.startswith("RUNYARD_TELL") for name in found)
    assert log == []


def test_variables_of_the_environment_itself_are_set_before_the_scripts_run(prefix, variables):
    (prefix / "etc" / "conda" / "env_vars.d" / "p.json").write_text(json.dumps({"MODE": "fast", "COUNT": 2}))
    script(prefix, "a.sh", 'export SEEN="$MODE"\n')
    found = variables()
    assert (found["MODE"], found["COUNT"], found["SEEN"]) == ("fast", "2", "fast")


def test_variables_that_cannot_be_read_are_named_and_do_no_harm(prefix, variables, log):
    (prefix / "etc" / "conda" / "env_vars.d" / "p.json").write_text("[1]")
    assert "CONDA_PREFIX" in variables()
    assert log[0].startswith("p.json of the conda environment cannot be read as variables")


@pytest.mark.parametrize("text", ["exit 3\n", "kill -9 $$\n"])
def test_a_script_that_ends_the_shell_is_named_and_the_run_goes_on(prefix, variables, log, text):
    script(prefix, "broken.sh", text)
    assert variables()["CONDA_PREFIX"] == str(prefix)
    assert "(broken.sh) failed: what they set is missing" in log[-1]


def test_what_scripts_say_is_in_the_log_and_in_no_variable(prefix, variables, log):
    script(prefix, "a.sh", "echo good day\necho MODE=wrong\nexport MODE=right\n")
    assert variables()["MODE"] == "right"
    assert log == ["The activation scripts of the conda environment said: good day\nMODE=wrong"]
