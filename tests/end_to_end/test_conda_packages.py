"""Runs in environments whose packages come from a conda channel: a folder that this test fills. No network is needed."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runyard import Environment, Run
from runyard_server.testing.conda_channel import PLACEHOLDER, CondaChannel, Program
from runyard_server.testing.wheels import make_wheel

Submit = Callable[..., Run]

BUILD_LOG = "azureml-logs/20_image_build_log.txt"
OWN = "{}.{}.{}".format(*sys.version_info)

ASK = """
import os, subprocess, sys
import alpha
print("alpha", alpha.version)
print(subprocess.run(["align", "--version"], capture_output=True, text=True, check=True).stdout.strip())
print("prefix", os.environ["CONDA_PREFIX"] == sys.prefix, os.environ["ALIGN_HOME"])
"""


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> CondaChannel:
    """``align``, a tool that only conda has; and this very Python with a package for it."""
    channel = CondaChannel(tmp_path_factory.mktemp("channel"))
    channel.publish("libalign", "2.1", files={"lib/align.txt": "align 1.0 with libalign 2.1\n"})
    says = f"#!/bin/sh\n# of {PLACEHOLDER}\nexec cat {PLACEHOLDER}/lib/align.txt\n"
    activate = "home_of_align() { echo $CONDA_PREFIX/share/align; }\nexport ALIGN_HOME=$(home_of_align)\necho hello\n"
    files = {"bin/align": Program(says), "etc/conda/activate.d/align.sh": activate}
    channel.publish("align", "1.0", ["libalign >=2"], files, suffix=".conda")
    channel.publish_interpreter()
    channel.publish_python("on-conda", "1.0", entry_points=["on-conda = on_conda:main"])
    return channel


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    make_wheel(folder, "alpha", "1.0")
    make_wheel(folder, "beta", "1.0", ["on-conda"])
    return folder


def said(run: Run) -> list[str]:
    run.wait_for_completion()
    return run._read_log("azureml-logs/70_driver_log.txt").strip().splitlines()


def test_a_conda_file_gives_a_script_a_tool_that_only_conda_has_beside_its_pip_packages(
    submit: Submit, channel: CondaChannel, wheels: Path, tmp_path: Path
) -> None:
    file = tmp_path / "environment.yml"
    file.write_text(
        f"name: with-a-tool\nchannels:\n- {channel.url}\ndependencies:\n- python={OWN.rpartition('.')[0]}\n- align=1.0\n"
        f"- pip\n- pip:\n  - --no-index\n  - --find-links {wheels}\n  - alpha\n"
    )
    environment = Environment.from_conda_specification("with-a-tool", str(file))
    run = submit(ASK, environment=environment)
    alpha, align, prefix = said(run)
    assert (alpha, align) == ("alpha 1.0", "align 1.0 with libalign 2.1")
    assert prefix.startswith("prefix True /") and prefix.endswith("/share/align")
    log = run._read_log(BUILD_LOG)
    assert f"Solving align=1.0 with conda channels {channel.url}" in log
    assert " + align=1.0=0 (conda)" in log and " + alpha==1.0" in log
    assert "The activation scripts of the conda environment said: hello" in run._read_log(
        "azureml-logs/65_job_prep-0.txt"
    )
    again = submit(ASK, environment=environment)
    assert said(again) == [alpha, align, prefix]
    assert BUILD_LOG not in again.get_file_names()


def test_a_script_runs_on_condas_own_python_with_pip_packages_that_need_condas(
    submit: Submit, channel: CondaChannel, wheels: Path
) -> None:
    environment = Environment("condas-python")
    environment.python.conda_solver = "always"
    packages = environment.python.conda_dependencies
    packages.add_channel(channel.url)
    packages.add_conda_package("on-conda")
    packages.set_pip_requirements(["--no-index", f"--find-links {wheels}", "beta"])
    script = (
        "import os, sys, beta, on_conda\n"
        "print(sys.version.split()[0], on_conda.version, sys.prefix == os.environ['CONDA_PREFIX'])\n"
        "print(os.path.dirname(os.__file__).startswith(sys.prefix), 'VIRTUAL_ENV' in os.environ)\n"
        "from azureml.core import Run\nRun.get_context().log('loss', 0.5)\n"
    )
    run = submit(script, environment=environment)
    assert said(run) == [f"{OWN} 1.0 True", "True False"]
    assert run.get_metrics() == {"loss": 0.5}
    assert f"Python {OWN} of conda" in run._read_log(BUILD_LOG)


def test_packages_that_do_not_fit_together_fail_the_run_with_their_names(submit: Submit, channel: CondaChannel) -> None:
    channel.publish("clash", "1.0", ["libalign <2"])
    channel.publish("libalign", "1.0")
    environment = Environment("clashing")
    packages = environment.python.conda_dependencies
    packages.add_channel(channel.url)
    packages.add_conda_package(f"{channel.url}::align")
    packages.add_conda_package(f"{channel.url}::clash")
    run = submit("print('never')\n", environment=environment)
    run.wait_for_completion(raise_on_error=False)
    message = run.get_details()["error"]["error"]["message"]
    assert "do not fit together" in message and "clash 1.0" in message and "libalign <2" in message
