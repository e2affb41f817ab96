"""Brings what an MLflow server has into a workspace: experiments, runs, numbers, files and models, with their ids.

Both sides are spoken to in MLflow's words. What is here already is not brought again, so an import that was cut off is
gone on with by doing it again, and one that is repeated brings what is new. A run counts as brought when its **mark** is
set, as the last of all: a digest of what it is like there.
"""

import hashlib
import json
import os
import tempfile
from collections import Counter
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from runyard.errors import RunyardError, ServerUnavailableError, UserErrorException
from runyard.mlflow_api import OLDER_PAGES, MlflowApi, MlflowRefused, quoted
from runyard.transfer import upload_run_files
from runyard.transport.base import Transport

MARK = "mlflow.imported"
_PARENT = "mlflow.parentRunId"
_NOBODY = "unknown"  # MLflow's word for a user where nobody was named
_BATCH, _PAIRS = 1000, 100  # of one request, as MLflow has it
_RUNS, _POINTS = 100, 20000  # on one page
_FILES, _FILES_BYTES = 500, 256 << 20  # of one portion on this machine's disk
_LEVELS = 32  # of runs below each other
_MOST = 1.7976931348623157e308  # what MLflow's databases keep instead of infinity

Point = Tuple[int, int, float]  # step, time in milliseconds, value


class File(NamedTuple):
    """A file there: its path, its size (None where the server does not know it)."""

    path: str
    size: Optional[int]


class Failure(NamedTuple):
    """Something that could not be brought, and why."""

    what: str
    why: str


class Import:
    """One import. ``counts`` says what it did, ``failures`` what it could not do.

    Args:
        source: the server that has it.
        target: MLflow's API of the workspace.
        transport: the workspace's own, for files.
        say: is told how far it is, a line at a time.
    """

    def __init__(self, source: MlflowApi, target: MlflowApi, transport: Transport, say: Callable[[str], None]) -> None:
        self._source, self._target, self._transport, self._say = source, target, transport, say
        self.counts: Counter[str] = Counter()
        self.failures: List[Failure] = []
        self._seen: Set[str] = set()
        self._experiments: Dict[str, str] = {}  # their ids there to their ids here

    def everything(self, names: Sequence[str] = ()) -> None:
        """Brings all experiments (or those of these names) and, where none is named, all registered models.

        Raises:
            UserErrorException: no experiment of such a name.
            ServerUnavailableError: one of the two servers is gone.
        """
        there = list(self._source.pages("experiments/search", "experiments", {"view_type": "ACTIVE_ONLY"}, 1000))
        unknown = set(names) - {each["name"] for each in there}
        if unknown:
            raise UserErrorException(
                "No experiment {!r} is there. There are: {}.".format(
                    sorted(unknown)[0], ", ".join(sorted(each["name"] for each in there)) or "none"
                )
            )
        chosen = [each for each in there if not names or each["name"] in names]
        for experiment in chosen:
            self._try("experiment " + experiment["name"], self._experiment, experiment)
        if not names:
            gone = self._source.pages("experiments/search", "experiments", {"view_type": "DELETED_ONLY"}, 1000)
            self.counts["experiments deleted there"] += sum(1 for _ in gone)
            self._models()

    # Experiments and runs

    def _experiment(self, said: Dict[str, Any]) -> None:
        theirs = str(said["experiment_id"])
        here = self._target.post(
            "imports/experiments",
            {
                "experiment_id": theirs,
                "name": said["name"],
                "creation_time": _whole(said.get("creation_time")),
                "tags": said.get("tags") or [],
            },
        )
        self._experiments[theirs] = here["experiment_id"]
        self._count("experiments", here["is_new"])
        if here["experiment_id"] != theirs:
            self._say(
                "experiment {}: its id is {} there and {} here".format(said["name"], theirs, here["experiment_id"])
            )
        asked = {"experiment_ids": [theirs], "order_by": ["attributes.start_time ASC"]}
        number = 0
        for run in self._source.pages("runs/search", "runs", dict(asked, run_view_type="ACTIVE_ONLY"), _RUNS):
            number += 1
            self._try("run " + run["info"]["run_id"], self._run, run, 0)
            if number % _RUNS == 0:
                self._say("experiment {}: {} runs so far".format(said["name"], number))
        models = 0
        for model in self._logged_models(theirs):
            models += 1
            self._try("logged model " + model["info"]["model_id"], self._logged_model, model)
        gone = self._source.pages("runs/search", "runs", dict(asked, run_view_type="DELETED_ONLY"), 1000)
        self.counts["runs deleted there"] += sum(1 for _ in gone)
        self._say("experiment {}: {} runs, {} logged models".format(said["name"], number, models))

    def _run(self, said: Dict[str, Any], level: int) -> None:
        info, data = said["info"], said.get("data") or {}
        run_id = info.get("run_id") or info["run_uuid"]
        if run_id in self._seen:
            return
        self._seen.add(run_id)
        tags = {tag["key"]: tag.get("value", "") for tag in data.get("tags") or ()}
        self._parent_first(tags.get(_PARENT), level)
        files, user = self._files_of_run(run_id, info), info.get("user_id") or _NOBODY
        here = self._target.post(
            "imports/runs",
            {
                "run_id": run_id,
                "experiment_id": self._experiments[str(info["experiment_id"])],
                "mark": _mark(said, [file for _, file in files]),
                "start_time": _whole(info.get("start_time")) or 0,
                "status": info.get("status") or "RUNNING",
                "end_time": _whole(info.get("end_time")) or None,
                "run_name": info.get("run_name") or None,
                "user_id": user if user != _NOBODY else None,
                "tags": [{"key": key, "value": value} for key, value in tags.items()],
            },
        )
        if not self._is_to_be_filled("runs", here):
            return
        for portion in _portions(data.get("params") or (), _PAIRS):
            self._target.post("runs/log-batch", {"run_id": run_id, "params": portion})
        inputs, outputs = said.get("inputs") or {}, said.get("outputs") or {}
        if inputs.get("dataset_inputs") or inputs.get("model_inputs"):
            asked = {"datasets": inputs.get("dataset_inputs") or [], "models": inputs.get("model_inputs") or []}
            self._target.post("runs/log-inputs", dict(asked, run_id=run_id))
        if outputs.get("model_outputs"):
            self._target.post("runs/outputs", {"run_id": run_id, "models": outputs["model_outputs"]})
        names = [metric["key"] for metric in data.get("metrics") or ()]
        self._numbers(run_id, names, here["is_new"])
        self._files(run_id, files, here["is_new"])
        self._marked(run_id, _mark(said, [file for _, file in files]))

    def _parent_first(self, parent: Optional[str], level: int) -> None:
        """A run stands below another one only if that is here when it is made."""
        if not parent or parent in self._seen or level >= _LEVELS:
            return
        try:
            said = self._source.get("runs/get", run_id=parent)["run"]
        except MlflowRefused:
            return  # it was deleted for good: the tag keeps its id
        is_there = said["info"].get("lifecycle_stage") == "active"
        if is_there and str(said["info"]["experiment_id"]) in self._experiments:
            self._try("run " + parent, self._run, said, level + 1)

    def _numbers(self, run_id: str, names: Sequence[str], is_new: bool) -> None:
        batch: List[Dict[str, Any]] = []
        for name in names:
            known = set() if is_new else set(_keys(_history(self._target, run_id, name)))
            for point, key in zip(*_with_keys(_history(self._source, run_id, name))):
                if key in known:
                    continue
                known.add(key)
                batch.append({"key": name, "step": point[0], "timestamp": point[1], "value": _told(point[2])})
                if len(batch) == _BATCH:
                    self._send_numbers(run_id, batch)
                    batch = []
        if batch:
            self._send_numbers(run_id, batch)

    def _send_numbers(self, run_id: str, batch: List[Dict[str, Any]]) -> None:
        self._target.post("runs/log-batch", {"run_id": run_id, "metrics": batch})
        self.counts["numbers"] += len(batch)

    def _marked(self, run_id: str, mark: str) -> None:
        self._target.post("runs/set-tag", {"run_id": run_id, "key": MARK, "value": mark})

    # Logged models

    def _logged_models(self, experiment_id: str) -> Iterator[Dict[str, Any]]:
        try:
            yield from self._source.pages("logged-models/search", "models", {"experiment_ids": [experiment_id]}, 50)
        except MlflowRefused as refused:
            if refused.status not in (404, 405, 501):  # MLflow 2 has none
                raise

    def _logged_model(self, said: Dict[str, Any]) -> None:
        info, data = said["info"], said.get("data") or {}
        model_id = info["model_id"]
        listed = list(_below("logged-models/{}/artifacts/directories".format(quoted(model_id)), self._source, {}, True))
        mark = _mark(said, listed)
        here = self._target.post(
            "imports/logged-models",
            {
                "model_id": model_id,
                "experiment_id": self._experiments[str(info["experiment_id"])],
                "mark": mark,
                "creation_timestamp_ms": _whole(info.get("creation_timestamp_ms")) or 0,
                "last_updated_timestamp_ms": _whole(info.get("last_updated_timestamp_ms")) or 0,
                "status": info.get("status") or "",
                "name": info.get("name") or None,
                "model_type": info.get("model_type") or None,
                "source_run_id": info.get("source_run_id") or None,
                "params": data.get("params") or [],
                "tags": info.get("tags") or [],
            },
        )
        if not self._is_to_be_filled("logged models", here):
            return
        points: Dict[str, List[Point]] = {}
        for metric in data.get("metrics") or ():
            points.setdefault(metric["key"], []).append(_point(metric))
        for name, found in points.items():
            known = set() if here["is_new"] else set(_keys(_history(self._target, model_id, name)))
            new = [point for point, key in zip(*_with_keys(found)) if key not in known]
            for portion in _portions(new, _BATCH):
                batch = [
                    {"key": name, "step": step, "timestamp": at, "value": _told(value)} for step, at, value in portion
                ]
                self._send_numbers(model_id, batch)
        uri = str(info.get("artifact_uri") or "")
        path = OLDER_PAGES + "logged-models/{}/artifacts/files".format(quoted(model_id))
        files = [(_fetch_from(uri, file.path) or (path, {"artifact_file_path": file.path}), file) for file in listed]
        self._files(model_id, files, here["is_new"])
        self._marked(model_id, mark)

    # Files

    def _files_of_run(self, run_id: str, info: Dict[str, Any]) -> List[Tuple[Tuple[str, Dict[str, Any]], File]]:
        """Where each of a run's files is fetched, and the file."""
        uri = str(info.get("artifact_uri") or "")
        return [
            (_fetch_from(uri, file.path) or ("/get-artifact", {"run_uuid": run_id, "path": file.path}), file)
            for file in _below("artifacts/list", self._source, {"run_id": run_id}, False)
        ]

    def _files(self, run_id: str, files: Sequence[Tuple[Tuple[str, Dict[str, Any]], File]], is_new: bool) -> None:
        here = (
            {}
            if is_new
            else {file.path: file.size for file in _below("artifacts/list", self._target, {"run_id": run_id}, False)}
        )
        # A file here that has another size was replaced there; the same size is taken for the same file.
        wanted = [each for each in files if each[1].path not in here or here[each[1].path] != each[1].size]
        while wanted:
            with tempfile.TemporaryDirectory(prefix="runyard-import-") as folder:
                portion: List[Tuple[str, str]] = []
                size = 0
                while wanted and len(portion) < _FILES and size < _FILES_BYTES:
                    (path, query), file = wanted.pop(0)
                    local = os.path.join(folder, str(len(portion)))
                    with open(local, "wb") as target:
                        got = self._source.save(path, query, target)
                    if file.size is not None and got != file.size:
                        raise RunyardError(
                            "{} has {} bytes by its list, and {} came.".format(file.path, file.size, got)
                        )
                    portion.append((file.path, local))
                    size += got
                upload_run_files(self._transport, run_id, portion, overwrite=True)
                self.counts["files"] += len(portion)
                self.counts["bytes"] += size

    # The registry

    def _models(self) -> None:
        for model in self._source.pages("registered-models/search", "registered_models", {}, 100, ask=True):
            self._try("model " + model["name"], self._model, model)

    def _model(self, said: Dict[str, Any]) -> None:
        name, is_new = said["name"], True
        about = {"name": name, "description": said.get("description") or ""}
        try:
            self._target.post("registered-models/create", dict(about, tags=said.get("tags") or []))
        except MlflowRefused as refused:
            if refused.mlflow_code != "RESOURCE_ALREADY_EXISTS":
                raise
            is_new = False
            for tag in said.get("tags") or ():
                self._target.post("registered-models/set-tag", dict(tag, name=name))
        self._count("models", is_new)
        asked = {"filter": "name={}".format(_in_quotes(name)), "order_by": ["version_number ASC"]}
        versions = self._source.pages("model-versions/search", "model_versions", asked, 1000, ask=True)
        found = sorted(versions, key=lambda version: int(version["version"]))
        for version in found:
            self._try("model {} version {}".format(name, version["version"]), self._version, version)
        for alias in said.get("aliases") or ():
            what = "alias {} of model {}".format(alias["alias"], name)
            self._try(what, self._alias, name, alias["alias"], str(alias["version"]))
        self._say("model {}: {} versions".format(name, len(found)))

    def _version(self, said: Dict[str, Any]) -> None:
        # One in a list may lack what it has by itself.
        whole = self._source.get("model-versions/get", name=said["name"], version=said["version"])["model_version"]
        here = self._target.post(
            "imports/model-versions",
            {
                "name": whole["name"],
                "version": str(whole["version"]),
                "source": self._files_of_version(whole),
                "run_id": whole.get("run_id") or None,
                "run_link": whole.get("run_link") or None,
                "model_id": whole.get("model_id") or None,
                "description": whole.get("description") or None,
                "creation_timestamp": _whole(whole.get("creation_timestamp")),
                "stage": whole.get("current_stage") or "None",
                "tags": whole.get("tags") or [],
            },
        )
        self._count("model versions", here["is_new"])

    def _alias(self, name: str, alias: str, version: str) -> None:
        self._target.post("registered-models/alias", {"name": name, "alias": alias, "version": version})

    def _files_of_version(self, said: Dict[str, Any]) -> str:
        """The source of a version, in words that hold on both sides. Raises UserErrorException where its files are none."""
        source, run_id = str(said.get("source") or ""), said.get("run_id")
        if source.startswith(("models:/", "runs:/")):
            return source
        if said.get("model_id"):
            return "models:/{}".format(said["model_id"])
        if run_id:
            info = self._source.get("runs/get", run_id=run_id)["run"]["info"]
            root = str(info.get("artifact_uri") or "").rstrip("/")
            path = _plain(source)
            if root and path.startswith(_plain(root) + "/"):
                return "runs:/{}/{}".format(run_id, path[len(_plain(root)) + 1 :].strip("/"))
        raise UserErrorException(
            "Its files lie at {!r}, which is not among the files of a run or of a logged model. Log them to a run "
            "there and register them again.".format(source[:300])
        )

    # What all have in common

    def _is_to_be_filled(self, what: str, here: Dict[str, Any]) -> bool:
        if here["is_deleted"]:
            self.counts[what + " deleted here"] += 1
            return False
        if here["is_whole"]:
            self.counts[what + " as before"] += 1
            return False
        self.counts["new " + what if here["is_new"] else "changed " + what] += 1
        return True

    def _count(self, what: str, is_new: bool) -> None:
        self.counts["new " + what if is_new else what + " as before"] += 1

    def _try(self, what: str, act: Callable[..., None], *said: Any) -> None:
        """What cannot be brought is told at the end, and does not keep the rest back; a server that is gone does."""
        try:
            act(*said)
        except ServerUnavailableError:
            raise
        except RunyardError as fault:
            self.failures.append(Failure(what, fault.message))
            self._say("{} is not brought: {}".format(what, fault.message))


def _below(path: str, api: MlflowApi, said: Dict[str, Any], of_model: bool) -> Iterator[File]:
    """All files below a listing's root, folder by folder."""
    key = "artifact_directory_path" if of_model else "path"
    folders, seen = [""], {""}
    while folders:
        folder = folders.pop()
        token = None
        while True:
            asked = dict(said, **({key: folder} if folder else {}), **({"page_token": token} if token else {}))
            answer = api.get(path, **asked)
            for each in answer.get("files") or ():
                if not each.get("is_dir"):
                    yield File(each["path"], _whole(each.get("file_size")))
                elif each["path"] not in seen:
                    seen.add(each["path"])
                    folders.append(each["path"])
            token = answer.get("next_page_token")
            if not token:
                break


def _fetch_from(uri: str, path: str) -> Optional[Tuple[str, Dict[str, Any]]]:
    """Where a file is fetched that clients get through the server; None where only the server knows."""
    scheme = "mlflow-artifacts:"
    if not uri.startswith(scheme):
        return None
    rest = uri[len(scheme) :]
    if rest.startswith("//"):
        rest = "/" + rest[2:].partition("/")[2]  # a server by name: the one that is asked
    return "/api/2.0/mlflow-artifacts/artifacts/{}/{}".format(quoted(rest.strip("/")), quoted(path)), {}


def _history(api: MlflowApi, run_id: str, name: str) -> Iterable[Point]:
    asked = {"run_id": run_id, "metric_key": name}
    return [_point(each) for each in api.pages("metrics/get-history", "metrics", asked, _POINTS, ask=True)]


def _point(said: Dict[str, Any]) -> Point:
    value = float(said.get("value") or 0.0)
    if abs(value) == _MOST:
        value = float("inf") if value > 0 else float("-inf")
    return int(said.get("step") or 0), int(said.get("timestamp") or 0), value


def _keys(points: Iterable[Point]) -> List[Tuple[int, int, str]]:
    """What makes a point the same: a NaN is no other NaN's equal, but its text is."""
    return [(step, at, repr(value)) for step, at, value in points]


def _with_keys(points: Iterable[Point]) -> Tuple[List[Point], List[Tuple[int, int, str]]]:
    listed = list(points)
    return listed, _keys(listed)


def _told(value: float) -> Any:
    """A number as protobuf's JSON has it."""
    text = repr(value)
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, value)


def _mark(said: Dict[str, Any], files: Iterable[File]) -> str:
    """What a run is like there, in one word: it changes with everything that its server tells of it."""
    told = {"said": said, "files": sorted((file.path, file.size or 0) for file in files)}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode("utf-8")).hexdigest()[:16]


def _plain(uri: str) -> str:
    """An address of files with which another one is compared: a path and its ``file:`` are the same."""
    for prefix in ("file://", "file:"):
        if uri.startswith(prefix):
            return uri[len(prefix) :].rstrip("/")
    return uri.rstrip("/")


def _in_quotes(name: str) -> str:
    return '"{}"'.format(name) if "'" in name else "'{}'".format(name)


def _whole(value: Any) -> Optional[int]:
    return None if value is None else int(value)


def _portions(items: Iterable[Any], size: int) -> Iterator[List[Any]]:
    listed = list(items)
    for start in range(0, len(listed), size):
        yield listed[start : start + size]
