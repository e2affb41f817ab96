"""The numbers in a run's event files, taken into its metrics by the server."""

from typing import TYPE_CHECKING, Any, Dict, List

from runyard.transport.base import url_path

if TYPE_CHECKING:
    from runyard.run import Run


def take(run: "Run") -> Dict[str, Any]:
    """Has the server take what is new, part by part: ``{"files", "points", "metrics", "warnings"}``."""
    metrics: List[str] = []
    warnings: List[str] = []
    files = points = 0
    while True:
        said = run._transport.call("POST", url_path("runs", run.id, "tensorboard"))
        files, points = said["files"], points + said["points"]
        metrics += [name for name in said["metrics"] if name not in metrics]
        warnings += [text for text in said["warnings"] if text not in warnings]
        if not said["more"]:
            return {"files": files, "points": points, "metrics": sorted(metrics), "warnings": warnings}
