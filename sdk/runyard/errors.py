"""Every error that runyard raises on purpose.

RunyardError
├── UserErrorException             the request was wrong; the message says what is allowed
│   ├── WorkspaceException         no such workspace, or it cannot be opened
│   ├── ExperimentException        a name against the rules, no such experiment
│   ├── ComputeTargetException     no such compute target, or it cannot be had
│   ├── DatastoreException         no such datastore, or a path outside it
│   ├── DatasetException           a dataset that cannot be kept or read
│   │   └── DatasetTimestampMissingError
│   ├── EnvironmentException       an environment that cannot be resolved or built
│   ├── SnapshotException          the source directory cannot be sent
│   ├── ModelException             a model that cannot be registered
│   │   └── ModelNotFoundException
│   ├── ModelPathNotFoundException a model path that is not in the run's files
│   ├── RetentionException         a retention rule that cannot be kept, no such rule
│   │   └── PlanChangedError       other runs would go by now than were shown
│   ├── RunException               no such run, or it cannot do that now
│   │   ├── IllegalTransitionError a status that cannot follow the present one
│   │   ├── AttemptOverError       what an attempt sends that has ended
│   │   └── FileNotInRunError      no such file in the run's files
│   ├── DigestMismatchError        bytes that are not those of their digest
│   ├── PathRefusedError           a path that leaves its folder or is not plain
│   ├── AuthenticationException    no token, a wrong or an expired one
│   ├── PermissionDeniedError      a token that may not do this
│   ├── LimitReachedError          more than the server takes at once
│   ├── BodyTooLargeError          more bytes than one request may have
│   └── NotOfferedError            a member of Azure's classes that ours do not have
├── RunEnvironmentException        not inside a run
├── ActivityFailedException        the run that was waited for failed
├── ServiceException               the server answered wrongly or broke
│   └── ServerUnavailableError     no server at the address
└── StorageFullError               the disk has no room

Each class has a stable ``code``; the server sends the code, the client rebuilds the same class
from a fixed table. The names that Azure ML SDK v1 has are kept, since people catch them.
"""

from typing import Any, Dict, Optional, Type


class RunyardError(Exception):
    """Base of all. ``message`` says what was wrong, what is allowed and what to do."""

    code = "error"
    http_status = 500

    def __init__(self, message: str = "", details: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details or {}

    def __str__(self) -> str:
        return self.message


class UserErrorException(RunyardError):
    code = "user_error"
    http_status = 400


class WorkspaceException(UserErrorException):
    code = "workspace"


class UnknownWorkspaceError(WorkspaceException):
    code = "unknown_workspace"
    http_status = 404


class ExperimentException(UserErrorException):
    code = "experiment"


class UnknownExperimentError(ExperimentException):
    code = "unknown_experiment"
    http_status = 404


class ComputeTargetException(UserErrorException):
    code = "compute_target"


class UnknownComputeError(ComputeTargetException):
    code = "unknown_compute"
    http_status = 404


class DatastoreException(UserErrorException):
    code = "datastore"


class UnknownDatastoreError(DatastoreException):
    code = "unknown_datastore"
    http_status = 404


class DatasetException(UserErrorException):
    code = "dataset"


class UnknownDatasetError(DatasetException):
    code = "unknown_dataset"
    http_status = 404


class DatasetTimestampMissingError(DatasetException):
    code = "dataset_timestamp_missing"


class EnvironmentException(UserErrorException):
    code = "environment"


class UnknownEnvironmentError(EnvironmentException):
    code = "unknown_environment"
    http_status = 404


class SnapshotException(UserErrorException):
    code = "snapshot"


class ModelException(UserErrorException):
    code = "model"


class ModelNotFoundException(ModelException):
    code = "model_not_found"
    http_status = 404


class ModelPathNotFoundException(UserErrorException):
    code = "model_path_not_found"
    http_status = 404


class RetentionException(UserErrorException):
    code = "retention"


class PlanChangedError(RetentionException):
    code = "plan_changed"
    http_status = 409


class UnknownRetentionRuleError(RetentionException):
    code = "unknown_retention_rule"
    http_status = 404


class RunException(UserErrorException):
    code = "run"


class UnknownRunError(RunException):
    code = "unknown_run"
    http_status = 404


class IllegalTransitionError(RunException):
    code = "illegal_transition"
    http_status = 409


class AttemptOverError(RunException):
    """Whoever holds the token of an attempt that has ended changes nothing any more."""

    code = "attempt_over"
    http_status = 409


class TicketUsedError(RunException):
    """A node came for a job that another one has come for, or that is not there any more."""

    code = "ticket_used"
    http_status = 409


class FileNotInRunError(RunException):
    code = "file_not_in_run"
    http_status = 404


class OffsetGapError(RunException):
    """A stream's next bytes would leave a gap; ``details["size"]`` is what the server holds."""

    code = "offset_gap"
    http_status = 409


class DigestMismatchError(UserErrorException):
    """``details["refused"]`` names the entries of a pack whose bytes are not those of their digest."""

    code = "digest_mismatch"


class PathRefusedError(UserErrorException):
    code = "path_refused"


class AuthenticationException(UserErrorException):
    code = "authentication"
    http_status = 401


class PermissionDeniedError(UserErrorException):
    code = "permission_denied"
    http_status = 403


class LimitReachedError(UserErrorException):
    code = "limit_reached"
    http_status = 429


class BodyTooLargeError(UserErrorException):
    code = "body_too_large"
    http_status = 413


class NotOfferedError(UserErrorException, AttributeError):
    """AttributeError too, so that ``hasattr`` and an editor's completion take the member for what it is: not there."""

    code = "not_offered"


class RunEnvironmentException(RunyardError):
    code = "run_environment"
    http_status = 400


class ActivityFailedException(RunyardError):
    code = "activity_failed"
    http_status = 409


class ServiceException(RunyardError):
    code = "service"


class ServerUnavailableError(ServiceException):
    code = "server_unavailable"
    http_status = 503


class StorageFullError(RunyardError):
    code = "storage_full"
    http_status = 507


def _table() -> Dict[str, Type[RunyardError]]:
    found: Dict[str, Type[RunyardError]] = {}
    waiting = [RunyardError]
    while waiting:
        cls = waiting.pop()
        found[cls.code] = cls
        waiting.extend(cls.__subclasses__())
    return found


BY_CODE = _table()


def from_answer(status: int, body: Any) -> RunyardError:
    """The error that a server's answer stands for: ``{"error": {"code", "message", "details"}}``."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return ServiceException("The server answered {} without saying why.".format(status))
    cls = BY_CODE.get(str(error.get("code")), ServiceException if status >= 500 else UserErrorException)
    details = error.get("details")
    return cls(str(error.get("message", "")), details if isinstance(details, dict) else None)
