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
