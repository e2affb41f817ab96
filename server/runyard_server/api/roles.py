"""Who may call which route: the one declared table. A route without a row stops the server's start.

Roles, by what a token stands for:

- ``PUBLIC``: no token at all.
- ``VIEWER``: a page ticket: reads pages and what they show.
- ``RUN``: a job's token: what concerns its own run (``{run_id}`` in the path is checked against
  it), and reading what the workspace offers to every run.
- ``MEMBER``: the workspace's token.
"""

from enum import Enum


class Role(str, Enum):
    PUBLIC = "public"
    VIEWER = "viewer"
    RUN = "run"
    MEMBER = "member"


PUBLIC = frozenset(Role)
PAGES = frozenset({Role.VIEWER, Role.MEMBER})
READ = frozenset({Role.VIEWER, Role.RUN, Role.MEMBER})
OWN_RUN = frozenset({Role.RUN, Role.MEMBER})
MEMBERS = frozenset({Role.MEMBER})

TABLE: dict[tuple[str, str], frozenset[Role]] = {
    ("GET", "/api/v1/health"): PUBLIC,
    ("GET", "/api/v1/openapi.json"): READ,
    ("GET", "/api/v1/workspace"): READ,
    ("PATCH", "/api/v1/workspace"): MEMBERS,
    ("GET", "/api/v1/experiments"): READ,
    ("PUT", "/api/v1/experiments/{name}"): OWN_RUN,
    ("GET", "/api/v1/experiments/{name}"): READ,
    ("PATCH", "/api/v1/experiments/{name}"): MEMBERS,
    ("DELETE", "/api/v1/experiments/{name}"): MEMBERS,
    ("POST", "/api/v1/runs"): MEMBERS,
    ("POST", "/api/v1/runs/check"): MEMBERS,
    ("POST", "/api/v1/interactive-runs"): OWN_RUN,
    ("GET", "/api/v1/runs"): READ,
    ("GET", "/api/v1/runs/{run_id}"): READ,
    ("PATCH", "/api/v1/runs/{run_id}"): OWN_RUN,
    ("POST", "/api/v1/runs/{run_id}/cancel"): OWN_RUN,
    ("POST", "/api/v1/runs/{run_id}/complete"): OWN_RUN,
    ("POST", "/api/v1/runs/{run_id}/fail"): OWN_RUN,
    ("POST", "/api/v1/runs/{run_id}/rerun"): MEMBERS,
    ("POST", "/api/v1/runs/{run_id}/children"): OWN_RUN,
    ("GET", "/api/v1/runs/{run_id}/events"): READ,
    ("GET", "/api/v1/runs/{run_id}/why"): READ,
    ("GET", "/api/v1/runs/{run_id}/ranks"): READ,
    ("POST", "/api/v1/runs/{run_id}/stacks"): OWN_RUN,
    ("GET", "/api/v1/runs/{run_id}/verify"): READ,
    ("POST", "/api/v1/runs/{run_id}/report"): OWN_RUN,
    ("POST", "/api/v1/runs/{run_id}/heartbeat"): OWN_RUN,
    ("GET", "/api/v1/runs/{run_id}/follow"): READ,
    ("GET", "/api/v1/computes"): READ,
    ("POST", "/api/v1/computes"): MEMBERS,
    ("GET", "/api/v1/computes/{name}"): READ,
    ("PATCH", "/api/v1/computes/{name}"): MEMBERS,
    ("DELETE", "/api/v1/computes/{name}"): MEMBERS,
    ("GET", "/api/v1/computes/{name}/nodes"): READ,
    ("GET", "/api/v1/vm_sizes"): READ,
    ("GET", "/api/v1/environments"): MEMBERS,  # their index options may hold a password
    ("POST", "/api/v1/environments"): MEMBERS,
    ("GET", "/api/v1/environments/{name}"): MEMBERS,
    ("GET", "/api/v1/environments/{name}/versions"): MEMBERS,
    ("POST", "/api/v1/environment-builds"): MEMBERS,
    ("GET", "/api/v1/environment-builds/{build_id}"): MEMBERS,
    ("GET", "/api/v1/environment-cache"): PAGES,
    ("GET", "/api/v1/environment-cache/{key}"): PAGES,
    ("POST", "/api/v1/environment-cache/prune"): MEMBERS,
    ("GET", "/api/v1/models"): READ,
    ("POST", "/api/v1/models"): OWN_RUN,
    ("GET", "/api/v1/models/{name}"): READ,
    ("GET", "/api/v1/models/{name}/{version}"): READ,
    ("PATCH", "/api/v1/models/{name}/{version}"): MEMBERS,
    ("DELETE", "/api/v1/models/{name}/{version}"): MEMBERS,
    ("POST", "/api/v1/models/{name}/{version}/pack"): OWN_RUN,
    ("POST", "/api/v1/models/{name}/{version}/handover"): OWN_RUN,
    ("POST", "/api/v1/runs/{run_id}/metrics"): OWN_RUN,
    ("GET", "/api/v1/runs/{run_id}/metrics"): READ,
    ("GET", "/api/v1/runs/{run_id}/metrics/history"): READ,
    ("PUT", "/api/v1/runs/{run_id}/logs/{name:path}"): OWN_RUN,
    ("GET", "/api/v1/runs/{run_id}/logs"): READ,
    ("GET", "/api/v1/runs/{run_id}/logs/{name:path}"): READ,
    ("POST", "/api/v1/objects/missing"): OWN_RUN,
    ("POST", "/api/v1/objects"): OWN_RUN,
    ("POST", "/api/v1/objects/handover"): OWN_RUN,
    ("POST", "/api/v1/snapshots"): OWN_RUN,
    ("GET", "/api/v1/snapshots/{snapshot_id}"): READ,
    ("GET", "/api/v1/snapshots/{snapshot_id}/pack"): OWN_RUN,
    ("GET", "/api/v1/runs/{run_id}/files"): READ,
    ("POST", "/api/v1/runs/{run_id}/files"): OWN_RUN,
    ("POST", "/api/v1/runs/{run_id}/files/pack"): OWN_RUN,
    ("POST", "/api/v1/runs/{run_id}/files/handover"): OWN_RUN,
    ("GET", "/api/v1/runs/{run_id}/files/{path:path}"): READ,
    ("GET", "/api/v1/datasets"): READ,
    ("POST", "/api/v1/datasets"): OWN_RUN,
    ("GET", "/api/v1/dataset-ids/{dataset_id}"): READ,
    ("GET", "/api/v1/datasets/{name}"): READ,
    ("DELETE", "/api/v1/datasets/{name}"): MEMBERS,
    ("GET", "/api/v1/datasets/{name}/versions"): READ,
    ("GET", "/api/v1/datasets/{name}/{version}"): READ,
    ("PATCH", "/api/v1/datasets/{name}/{version}"): MEMBERS,
    ("GET", "/api/v1/runs/{run_id}/given/{name}"): READ,
    ("POST", "/api/v1/runs/{run_id}/given/{name}/pack"): OWN_RUN,
    ("POST", "/api/v1/runs/{run_id}/given/{name}/handover"): OWN_RUN,
    ("GET", "/api/v1/datastores"): READ,
    ("POST", "/api/v1/datastores"): MEMBERS,
    ("GET", "/api/v1/datastores/{name}"): READ,
    ("PATCH", "/api/v1/datastores/{name}"): MEMBERS,
    ("DELETE", "/api/v1/datastores/{name}"): MEMBERS,
    ("POST", "/api/v1/datastores/{name}/plan"): OWN_RUN,
    ("POST", "/api/v1/datastores/{name}/files"): OWN_RUN,
    ("POST", "/api/v1/datastores/{name}/files/expect"): OWN_RUN,
    ("GET", "/api/v1/datastores/{name}/files"): READ,
    ("POST", "/api/v1/datastores/{name}/files/pack"): OWN_RUN,
    ("POST", "/api/v1/datastores/{name}/files/handover"): OWN_RUN,
    ("GET", "/api/3.0/mlflow/server-info"): READ,
    ("POST", "/api/2.0/mlflow/experiments/create"): OWN_RUN,
    ("GET", "/api/2.0/mlflow/experiments/get"): READ,
    ("GET", "/api/2.0/mlflow/experiments/get-by-name"): READ,
    ("POST", "/api/2.0/mlflow/experiments/search"): READ,
    ("GET", "/api/2.0/mlflow/experiments/search"): READ,
    ("POST", "/api/2.0/mlflow/experiments/update"): MEMBERS,
    ("POST", "/api/2.0/mlflow/experiments/delete"): MEMBERS,
    ("POST", "/api/2.0/mlflow/experiments/restore"): MEMBERS,
    ("POST", "/api/2.0/mlflow/experiments/set-experiment-tag"): MEMBERS,
    ("POST", "/api/2.0/mlflow/experiments/delete-experiment-tag"): MEMBERS,
    # The run of a body is checked where it is read (api/mlflow/runs.py: find_own).
    ("POST", "/api/2.0/mlflow/runs/create"): OWN_RUN,
    ("POST", "/api/2.0/mlflow/runs/update"): OWN_RUN,
    ("GET", "/api/2.0/mlflow/runs/get"): READ,
    ("POST", "/api/2.0/mlflow/runs/delete"): MEMBERS,
    ("POST", "/api/2.0/mlflow/runs/restore"): MEMBERS,
    ("POST", "/api/2.0/mlflow/runs/set-tag"): OWN_RUN,
    ("POST", "/api/2.0/mlflow/runs/delete-tag"): OWN_RUN,
    ("POST", "/api/2.0/mlflow/runs/log-model"): OWN_RUN,
    ("POST", "/api/2.0/mlflow/runs/log-metric"): OWN_RUN,
    ("POST", "/api/2.0/mlflow/runs/log-parameter"): OWN_RUN,
    ("POST", "/api/2.0/mlflow/runs/log-batch"): OWN_RUN,
    ("GET", "/api/2.0/mlflow/metrics/get-history"): READ,
    ("GET", "/api/2.0/mlflow/metrics/get-history-bulk-interval"): READ,
    ("GET", "/"): PAGES,
    ("GET", "/runs"): PAGES,
    ("GET", "/runs/{run_id}"): PAGES,
    ("GET", "/runs/{run_id}/live"): PAGES,
    ("GET", "/experiments"): PAGES,
    ("GET", "/models"): PAGES,
    ("GET", "/compute"): PAGES,
    ("GET", "/static/{name}"): PUBLIC,
    ("GET", "/{page}"): PAGES,
}
