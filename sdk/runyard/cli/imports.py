"""``runyard import``: brings what another tool has kept."""

from runyard.cli.call import Call
from runyard.cli.output import counted
from runyard.cli.parsing import Commands

_DETAILS = """
URI is an MLflow server (http://host:port), a folder mlruns, or sqlite:///FILE. Experiments, runs, metrics, files and
models come with their ids; what is here already is not brought again, so the same command goes on after an interruption
and later brings what is new. What was deleted there is left out. A server that asks who you are is told what
MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, say.
"""


def add(commands: Commands) -> None:
    """Adds ``import``."""
    noun = commands.noun(
        "import",
        "bring what another tool has kept",
        "runyard import mlflow http://mlflow.example:5000\nrunyard import mlflow ./mlruns",
    )
    parser = noun.verb("mlflow", mlflow, "experiments, runs and models of MLflow, with their ids", _DETAILS)
    parser.add_argument("uri", metavar="URI", help="an MLflow server's address, a folder mlruns, or sqlite:///FILE")
    parser.add_argument(
        "--experiment", metavar="NAME", action="append", default=[], help="only this experiment; may be repeated"
    )
    parser.add_argument(
        "--python", metavar="PATH", help="an interpreter with the MLflow that reads a folder or a database"
    )
    parser.add_argument(
        "--artifacts", metavar="FOLDER", help="the files that clients had sent to a server over that database"
    )
    noun.describe()


def mlflow(call: Call) -> int:
    """Imports from MLflow; 1 where something could not be brought."""
    from runyard import mlflow_serving
    from runyard.mlflow_api import MlflowApi, authorization
    from runyard.mlflow_import import Import

    given = call.given
    call.transport.call("GET", "/health")  # an embedded server that is gone is started by it
    address, token = call.transport.place()
    target = MlflowApi(address, "Bearer " + token, "The workspace's own server", is_ours=True)
    if mlflow_serving.is_address(given.uri):
        work = Import(MlflowApi(given.uri, authorization()), target, call.transport, call.out.note)
        work.everything(given.experiment)
    else:
        call.out.note("MLflow is started over {}.".format(given.uri))
        with mlflow_serving.served(given.uri, given.python, given.artifacts) as served:
            work = Import(MlflowApi(served, is_ours=True), target, call.transport, call.out.note)
            work.everything(given.experiment)
    counts = {name: count for name, count in sorted(work.counts.items()) if count}
    if call.out.as_json:
        call.out.json({"counts": counts, "failures": [failure._asdict() for failure in work.failures]})
    else:
        call.out.fields([(name, str(count)) for name, count in counts.items()])
        for failure in work.failures:
            call.out.say("{}: {}".format(failure.what, failure.why))
        if work.failures:
            call.out.say("{} could not be brought.".format(counted(len(work.failures), "thing")))
    return 1 if work.failures else 0
