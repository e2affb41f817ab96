"""How MLflow's client finds this workspace: an address and a token, in the variables that MLflow reads."""

import os
from typing import TYPE_CHECKING, Any, Dict

from runyard.errors import UserErrorException

if TYPE_CHECKING:
    from runyard.workspace import Workspace

URI, TOKEN = "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN"


def tracking_uri(workspace: "Workspace") -> str:
    """The server's address; its token goes into this process's ``MLFLOW_TRACKING_TOKEN``, where MLflow looks for it."""
    workspace.transport.call("GET", "/health")  # an embedded server that is gone is started by it
    address, token = workspace.transport.place()
    os.environ[TOKEN] = token
    return address


def variables(address: str, token: str, run_id: str, experiment: str) -> Dict[str, str]:
    """What a job sets for its script, so that what MLflow logs there lands in the job's run."""
    return {
        URI: address,
        TOKEN: token,
        "MLFLOW_RUN_ID": run_id,
        "MLFLOW_EXPERIMENT_NAME": experiment,
    }


def get_portal_url(run: Any) -> str:
    """The address of a run's page, for a run of MLflow's client or one of ours."""
    known = getattr(run, "get_portal_url", None)
    if known is not None:
        return str(known())
    run_id = getattr(getattr(run, "info", None), "run_id", None)
    if not isinstance(run_id, str) or not os.environ.get(URI) and not os.environ.get(TOKEN):
        raise UserErrorException(
            "get_portal_url takes a run of MLflow's client, with MLflow tracking in this workspace: "
            "mlflow.set_tracking_uri(ws.get_mlflow_tracking_uri()). Or ask ws.get_run(run_id).get_portal_url()."
        )
    from runyard.transport.base import url_path
    from runyard.transport.http import HttpTransport

    transport = HttpTransport(_address, lambda: os.environ.get(TOKEN, ""))
    return str(transport.call("GET", url_path("runs", run_id))["portal_url"])


def _address() -> str:
    return os.environ.get(URI, "")
