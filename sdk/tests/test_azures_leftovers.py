"""What belongs to Azure's cloud alone is taken so that scripts run unchanged, and says once that it has no effect."""

import os
import subprocess
import sys

import pytest

from runyard.authentication import AzureCliAuthentication, ServicePrincipalAuthentication
from runyard.errors import AuthenticationException

LOGINS = {
    "InteractiveLoginAuthentication": "(force=False, tenant_id='t')",
    "ServicePrincipalAuthentication": "('t', 'id', 'secret')",
    "AzureCliAuthentication": "()",
    "MsiAuthentication": "()",
    "TokenAuthentication": "(lambda audience: 'secret')",
}


def said_by(*lines):
    """What a process of its own says on stderr: what is said once is said once in each."""
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = dict(os.environ, PYTHONPATH=paths)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return done.stderr


def test_the_switch_for_telemetry_says_once_that_nothing_is_sent():
    said = said_by(
        "from runyard.telemetry import set_diagnostics_collection",
        "set_diagnostics_collection(send_diagnostics=True)",
        "set_diagnostics_collection(False)",
    )
    assert said.count("no diagnostics are collected or sent") == said.count("\n") == 1


def test_each_kind_of_login_is_taken_with_one_line():
    made = ["authentication.{}{}".format(name, given) for name, given in LOGINS.items()]
    said = said_by("from runyard import authentication", *(made + made))
    assert said.count("is accepted and not used") == said.count("\n") == len(LOGINS)
    assert all(name in said for name in LOGINS)
    assert "secret" not in said


def test_a_login_keeps_no_password():
    assert "secret" not in repr(vars(ServicePrincipalAuthentication("t", "id", "secret")))


def test_a_login_gives_the_header_of_a_teams_server_or_says_where_its_token_comes_from(monkeypatch):
    monkeypatch.delenv("RUNYARD_TOKEN", raising=False)
    with pytest.raises(AuthenticationException, match="set RUNYARD_TOKEN"):
        AzureCliAuthentication().get_authentication_header()
    monkeypatch.setenv("RUNYARD_TOKEN", "abc")
    assert AzureCliAuthentication().get_authentication_header() == {"Authorization": "Bearer abc"}


IGNORED = {
    "subnet_name and vnet_name": "AmlCompute.provisioning_configuration(max_nodes=1, vnet_name='v', subnet_name='s')",
    "Environment.docker: enabled and shm_size": "docker('enabled', True, 'shm_size', '8g').to_spec()",
    "RunConfiguration.docker: shm_size": "build(Estimator('.', entry_script='train.py', shm_size='8g'), 'tests')",
    "pip_version": "Environment.from_pip_requirements('e', 'requirements.txt', pip_version='20.1')",
    "output_collection": "build(with_history('output_collection', False), 'tests')",
    "source_directory_data_store": "build(Estimator('.', entry_script='train.py', source_directory_data_store='d'), 'tests')",
    "used_by_azure": "Run.get_context(used_by_azure=True)",
    "expand_all": "Experiment(None, 'tests', expand_all=True)",
}


@pytest.mark.parametrize("named", sorted(IGNORED))
def test_what_has_no_effect_is_said_once(named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "requirements.txt").write_text("six\n")
    (tmp_path / "train.py").write_text("")
    said = said_by(
        "from runyard import AmlCompute, Environment, Estimator, Experiment, Run, RunConfiguration, ScriptRunConfig",
        "from runyard.run_spec import build",
        "def docker(*settings):",
        "    environment = Environment('e')",
        "    for name, value in zip(settings[::2], settings[1::2]):",
        "        setattr(environment.docker, name, value)",
        "    return environment",
        "def with_history(name, value):",
        "    settings = RunConfiguration()",
        "    setattr(settings.history, name, value)",
        "    return ScriptRunConfig('.', 'train.py', run_config=settings)",
        IGNORED[named],
        IGNORED[named],
    )
    assert said.count(named) == said.count("accepted and not used: ") == said.count("\n") == 1, said


def test_what_is_not_given_is_not_spoken_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("")
    said = said_by(
        "from runyard import AmlCompute, Environment, Estimator, ScriptRunConfig",
        "from runyard.run_spec import build",
        "AmlCompute.provisioning_configuration('STANDARD_NC6', max_nodes=4)",
        "build(ScriptRunConfig('.', 'train.py', environment=Environment('e')), 'tests')",
        "build(Estimator('.', entry_script='train.py', use_gpu=True), 'tests')",
    )
    assert said == ""
