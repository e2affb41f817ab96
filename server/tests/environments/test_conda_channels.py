import os
import subprocess
import sys

import pytest

from runyard.errors import EnvironmentException
from runyard_server.environments.conda_channels import CondaSettings, address, chosen, solver_for


def test_channels_of_the_environment_take_the_place_of_the_servers_in_their_order():
    assert chosen(["bioconda", "conda-forge", "bioconda"], CondaSettings(), []) == ["bioconda", "conda-forge"]
    assert chosen([], CondaSettings(), []) == ["conda-forge"]
    assert chosen([], CondaSettings(channels=("mine", "file:///more")), []) == ["mine", "file:///more"]


def test_defaults_stands_for_the_servers_own_channels_and_the_log_says_so():
    notes = []
    settings = CondaSettings(channels=("conda-forge", "https://me:secret@host/own"))
    assert chosen(["defaults", "bioconda"], settings, notes) == [*settings.channels, "bioconda"]
    assert notes == [
        "the conda channel 'defaults' stands for this server's own: conda-forge, https://****@host/own",
    ]
    assert chosen(["nodefaults"], settings, []) == list(settings.channels)


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ("conda-forge/label/dev", "conda-forge/label/dev"),
        ("/data/channel/", "file:///data/channel"),
        ("file:///data/channel/", "file:///data/channel"),
        ("https://host/t/token/channel/", "https://host/t/token/channel"),
    ],
)
def test_a_channel_is_a_name_an_address_or_a_folder(written, taken):
    assert address(written) == taken


@pytest.mark.parametrize("written", ["", "../channel", "two words", "ftp://host/x", "-c conda-forge"])
def test_what_is_no_channel_is_refused_with_what_is_allowed(written):
    with pytest.raises(EnvironmentException, match=r"cannot be read\. Give a name \('conda-forge'\), an address"):
        address(written)


def test_a_channel_that_is_refused_does_not_show_its_secret():
    with pytest.raises(EnvironmentException, match="cannot be read") as refused:
        address("ftp://me:secret@host/t/token/x")
    assert "secret" not in str(refused.value) and "token" not in str(refused.value)


def test_settings_come_from_variables():
    assert CondaSettings.read({}) == CondaSettings("when-needed", ("conda-forge",), None)
    said = {
        "RUNYARD_CONDA": "always",
        "RUNYARD_CONDA_CHANNELS": "bioconda, conda-forge file:///own",
        "RUNYARD_CONDA_ALIAS": "https://mirror/conda",
    }
    read = CondaSettings.read(said)
    assert read == CondaSettings("always", ("bioconda", "conda-forge", "file:///own"), "https://mirror/conda")
    with pytest.raises(ValueError, match="RUNYARD_CONDA is 'sometimes'. Allowed: when-needed, always, never"):
        CondaSettings.read({"RUNYARD_CONDA": "sometimes"})


def test_an_environment_may_choose_otherwise_than_the_server_but_not_against_its_never():
    assert solver_for(None, CondaSettings("always")) == "always"
    assert solver_for("never", CondaSettings("always")) == "never"
    assert solver_for("always", CondaSettings("never")) == "never"
    assert solver_for("always", None) == "never"
    with pytest.raises(
        EnvironmentException, match="conda_solver is 'often'. Allowed: 'when-needed', 'always', 'never'"
    ):
        solver_for("often", CondaSettings())


def test_a_server_that_is_told_a_word_that_it_does_not_know_says_so_and_does_not_start(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RUNYARD_CONDA": "sometimes"}
    command = [sys.executable, "-m", "runyard_server", "--home", str(tmp_path / "home")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (
        2,
        "RUNYARD_CONDA is 'sometimes'. Allowed: when-needed, always, never.\n",
    )
