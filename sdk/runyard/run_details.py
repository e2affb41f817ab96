"""A run's record under Azure's keys."""

from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Sequence

if TYPE_CHECKING:
    from runyard.protocol.datasets import DatasetRecord


def details(
    record: Dict[str, Any],
    log_files: Dict[str, str],
    ranks: Sequence[Dict[str, Any]] = (),
    kept: "Sequence[DatasetRecord]" = (),
) -> Dict[str, Any]:
    """What ``get_details()`` gives: semantics of Azure ML SDK v1, times as ISO 8601 in UTC.

    Beyond Azure's there is ``ranks``, of a run that goes on: what each of its processes is at.

    Args:
        kept: the datasets that the run registered.
    """
    found: Dict[str, Any] = {
        "runId": record["id"],
        "target": record["target"],
        "status": record["status"],
    }
    if record.get("started_at"):
        found["startTimeUtc"] = iso_time(record["started_at"])
    if record.get("ended_at"):
        found["endTimeUtc"] = iso_time(record["ended_at"])
    found["services"] = {}
    if record.get("error"):
        found["error"] = error(record["error"])
    if record.get("warnings"):
        found["warnings"] = [{"source": "runyard", "message": text} for text in record["warnings"]]
    found["properties"] = dict(record["properties"])
    spec = record.get("spec")
    found["inputDatasets"] = [_input_dataset(use) for use in (spec or {}).get("input_datasets") or []]
    found["outputDatasets"] = [_output_dataset(each, kept) for each in (spec or {}).get("output_datasets") or []]
    if spec:
        found["runDefinition"] = run_definition(spec, record)
    found["logFiles"] = log_files
    if ranks:
        found["ranks"] = [_rank(each) for each in ranks]
    found["submittedBy"] = record.get("submitted_by")
    return found


def _rank(said: Dict[str, Any]) -> Dict[str, Any]:
    times = {"startTimeUtc": "started_at", "endTimeUtc": "ended_at", "lastOutputUtc": "last_output_at"}
    found = {key: said[key] for key in ("rank", "name", "node", "state", "log")}
    found.update({key: iso_time(said[of]) for key, of in times.items() if said[of] is not None})
    return found


def _input_dataset(use: Dict[str, Any]) -> Dict[str, Any]:
    consumption = {"type": "RunInput", "inputName": use["input_name"], "mechanism": use["mechanism"]}
    if use["path_on_compute"]:
        consumption["pathOnCompute"] = use["path_on_compute"]
    dataset = {key: use[key] for key in ("id", "name", "version") if use[key] is not None}
    return {"dataset": dataset, "consumptionDetails": consumption}


def _output_dataset(output: Dict[str, Any], kept: "Sequence[DatasetRecord]") -> Dict[str, Any]:
    """A dataset that the run puts out; its version is known once the run has completed."""
    dataset: Dict[str, Any] = {"name": output["name"]}
    for record in kept:
        if record.name == output["name"] and record.definition.sources[0].path == output["path"]:
            dataset.update(id=record.id, version=record.version)
    return {"dataset": dataset, "outputType": "RunOutput", "outputDetails": {"outputName": output["output_name"]}}


def error(said: Dict[str, Any]) -> Dict[str, Any]:
    """The cause of a failure: code, message, rank, exit code or signal, and the script's traceback."""
    cause = {key: value for key, value in said.items() if value is not None}
    kind = "ServiceError" if said["code"] in ("internal_error", "job_lost", "node_lost") else "UserError"
    return {"error": {"code": kind, "message": said["message"], "details": [cause]}}


def run_definition(spec: Dict[str, Any], record: Dict[str, Any]) -> Dict[str, Any]:
    """The configuration that the run was submitted with."""
    environment = spec["environment"]
    found: Dict[str, Any] = {
        "script": spec["script"],
        "command": " ".join(spec["command"]) or None,
        "arguments": list(spec["arguments"]),
        "target": spec["target"],
        "maxRunDurationSeconds": spec["max_run_duration_s"],
        "nodeCount": spec["node_count"],
        "priority": spec["priority"],
        "maxAttempts": (spec.get("retry") or {}).get("max_attempts", 1),
        "environment": {
            "name": environment["name"],
            "version": environment["version"],
            "key": record.get("environment_key"),
            "python": {
                "userManagedDependencies": environment["user_managed"],
                "interpreterPath": environment["interpreter"] or "python",
                "condaDependencies": {
                    "channels": list(environment["conda_channels"]),
                    "dependencies": list(environment["conda_packages"]) + [{"pip": list(environment["pip_packages"])}],
                },
            },
            "environmentVariables": dict(environment["variables"]),
            "packagesAsOf": environment.get("packages_as_of"),
        },
        "dataReferences": {
            reference["name"]: {
                "dataStoreName": reference["datastore"],
                "pathOnDataStore": _place(reference),
                "mode": reference["mode"].capitalize(),
                "overwrite": reference["overwrite"],
                "pathOnCompute": reference["path_on_compute"],
            }
            for reference in spec["data_references"]
        },
    }
    found.update(spec.get("run_config") or {})
    return found


def _place(reference: Dict[str, Any]) -> Optional[str]:
    run = reference.get("run")
    return "ExperimentRun/dcid.{}/{}".format(run, reference["path"]) if run else reference["path"] or None


def populated(metrics: Dict[str, Any], read: Callable[[str], bytes], prefix: Optional[str] = None) -> Dict[str, Any]:
    """Metrics with each image's location replaced by its bytes."""
    mark = prefix or "aml://artifactId/ExperimentRun/dcid."
    found: Dict[str, Any] = {}
    for name, value in metrics.items():
        if isinstance(value, dict):
            found[name] = populated(value, read, prefix)
        elif isinstance(value, str) and value.startswith(mark):
            found[name] = read(value[len(mark) :].split("/", 1)[1])
        else:
            found[name] = value
    return found


def iso_time(seconds: float) -> str:
    """A time as Azure writes it: ``2019-08-10T12:34:56.789012Z``."""
    import datetime

    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
