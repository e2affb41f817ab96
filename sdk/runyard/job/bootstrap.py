"""What runs first on a node that does not see the server's folder: it comes for its job, and brings the SDK here.

So does the driver of a gang, which is no node of the run, for what it is to do.

Nothing of ours is on the node yet: the server puts this file's text into what the engine gets, and it imports Python's
own library alone. What it is told (``NodeInvitation``) comes as one line of JSON on its input, where no list of
processes shows it. Who comes first gets the job, and with it the run's token; from then on the server is told what goes
wrong. Before that only the exit code can tell.
"""

import errno
import hashlib
import io
import json
import os
import shutil
import socket
import stat
import sys
import time
from typing import Any, Callable, Dict, Optional

TOO_OLD, NOT_REACHED, REFUSED, USED = 73, 74, 75, 72  # exit codes, for who has started this
STEP = "RUNYARD_STEP"  # as in task.py
OLDEST = (3, 7)
PATIENCE_S = 60.0  # a server that is started anew is back by then

_AWAY = (408, 425, 429, 500, 502, 503, 504)  # answers after which asking again makes sense


class Refused(Exception):
    """The server does not want this node. ``code``: of its error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def main() -> int:
    holder = os.getppid()  # who has started this: where that is gone by the time the job is here, nothing is begun
    if sys.version_info < OLDEST:
        return _leave(TOO_OLD, "This is Python {}; the job needs {}.{} or later.".format(sys.version, *OLDEST))
    told = json.loads(sys.stdin.readline())
    try:
        given = _come(told)
    except Refused as refused:
        return _leave(USED if refused.code == "ticket_used" else REFUSED, "The server refused: {}".format(refused))
    except OSError as fault:
        return _leave(NOT_REACHED, _not_reached(told["server_url"], fault))
    try:
        root = _own_folder(told["scratch"])
        sdk = _unpacked(told, given["token"], root)
        sys.path.insert(0, sdk)
        sys.dont_write_bytecode = False  # the folder is ours, and what is compiled serves each job that comes here
        try:
            work = _work(told, given, root, sdk, holder)
        except ImportError:
            # Somebody has cleared away a part of it: the next node fetches it anew.
            shutil.rmtree(sdk, ignore_errors=True)
            raise
    except (Refused, OSError, ImportError) as fault:
        message = _in_words(fault, told["scratch"])
        if told["node"] is None:
            return _leave(127, message)  # its engine keeps what it says
        end = {"exit_code": 127, "message": message, "began": False}
        try:
            _ask(told, "POST", _path(told, "end"), given["token"], end)
        except (Refused, OSError) as untold:
            sys.stderr.write("{}\n".format(untold))
        return _leave(127, message)
    return work()


def _work(told: Dict[str, Any], given: Dict[str, Any], root: str, sdk: str, holder: int) -> Callable[[], int]:
    """What this process has come for, as what is left to do; its exit code is this process's."""
    if told["node"] is None:
        from runyard.job import ray_gang_away

        return lambda: ray_gang_away.run(told, given)
    from runyard.job import away

    directory = away.make_directory(given, root)
    return lambda: away.run(told, given, root, sdk, directory, holder)


def _come(told: Dict[str, Any]) -> Dict[str, Any]:
    """Exchanges the ticket for the job."""
    step = ".".join(os.environ.get(name, "") for name in os.environ.get(STEP, "").split(".") if name)
    said = {"claim": os.urandom(16).hex(), "host": socket.gethostname(), "pid": os.getpid(), "step": step}
    return dict(json.loads(_ask(told, "POST", _path(told, "begin"), told["ticket"], said).decode("utf-8")))


def _path(told: Dict[str, Any], what: str) -> str:
    place = "driver" if told["node"] is None else "nodes/{node}"
    return ("/api/v1/runs/{run_id}/attempts/{attempt}/" + place + "/").format(**told) + what


def _ask(told: Dict[str, Any], method: str, path: str, token: str, said: Optional[Dict[str, Any]] = None) -> bytes:
    """The server's answer. Raises Refused, or OSError where it is not reached for long."""
    import http.client
    import urllib.error
    import urllib.request

    body = None if said is None else json.dumps(said).encode("utf-8")
    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
    # As the job itself does it later: no proxy stands between a node and its server.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline, pause_s = time.monotonic() + PATIENCE_S, 0.2
    while True:
        request = urllib.request.Request(told["server_url"] + path, body, headers, method=method)
        try:
            with opener.open(request, timeout=30.0) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as fault:
            if fault.code not in _AWAY or time.monotonic() > deadline:
                raise _refusal(fault) from fault
        except OSError:
            if time.monotonic() > deadline:
                raise
        except http.client.HTTPException as cut:  # the answer broke off
            if time.monotonic() > deadline:
                raise OSError(errno.ECONNRESET, str(cut)) from cut
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 3.0)


def _refusal(fault: Any) -> Refused:
    try:
        error = json.loads(fault.read().decode("utf-8"))["error"]
        return Refused(error["code"], error["message"])
    except (ValueError, KeyError, TypeError):
        return Refused("", "{} of {} answered {}".format(fault.geturl(), fault.headers.get("Server"), fault.code))


def _own_folder(scratch: str) -> str:
    """This user's folder below ``scratch``, which others of the node may write to as well."""
    path = os.path.expanduser(os.path.expandvars(scratch))
    if "$" in path or not os.path.isabs(path):
        raise OSError(errno.EINVAL, "it is no absolute path on this node: {}".format(path))
    os.makedirs(path, exist_ok=True)
    own = os.path.join(path, "runyard-{}".format(os.geteuid()))
    try:
        os.mkdir(own, 0o700)
    except FileExistsError:
        pass
    found = os.lstat(own)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise OSError(errno.EPERM, "{} is not a folder that only this user can write to".format(own))
    return own


def _unpacked(told: Dict[str, Any], token: str, root: str) -> str:
    """The SDK's folder on this disk: fetched once, and checked."""
    import zipfile

    digest = told["archive"]
    folder = os.path.join(root, "sdk", digest[:16])
    if os.path.isdir(folder):
        return folder
    archive = _ask(told, "GET", "/api/v1/job-archive/" + digest, token)
    if hashlib.sha256(archive).hexdigest() != digest:
        raise Refused("", "the archive of the job's code did not come whole from {}".format(told["server_url"]))
    unfinished = "{}.{}".format(folder, os.urandom(4).hex())
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            packed.extractall(unfinished)
        os.rename(unfinished, folder)
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not os.path.isdir(folder):  # else another job of this node was quicker
            raise
    return folder


def _in_words(fault: Exception, scratch: str) -> str:
    host = socket.gethostname()
    if isinstance(fault, Refused):
        return "Node {}: {}".format(host, fault)
    if isinstance(fault, ImportError):
        return (
            "Node {} had only a part of the SDK in scratch={!r} ({}). It is fetched anew: submit the run again.".format(
                host, scratch, fault
            )
        )
    said = getattr(fault, "strerror", None) or str(fault)
    name = getattr(fault, "filename", None)
    where = " ({})".format(name) if name else ""
    return (
        "Node {} cannot keep anything in scratch={!r}: {}{}. Name a folder of the node's own disk that this user can write "
        "to and that has room: scratch=... of the compute target."
    ).format(host, scratch, said, where)


def _not_reached(url: str, fault: OSError) -> str:
    said = getattr(fault, "reason", None) or fault
    return "Node {} does not reach the runyard server at {}: {}.".format(socket.gethostname(), url, said)


def _leave(code: int, message: str) -> int:
    sys.stderr.write(message + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
