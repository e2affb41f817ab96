"""What MLflow's clients ask of a server before they use what not every server has."""

from typing import Any

from typing_extensions import TypedDict

from runyard_server.routes import Routes

router = Routes("/api/3.0")


class ServerInfo(TypedDict):
    workspaces_enabled: bool
    multipart_uploads_enabled: bool
    multipart_downloads_enabled: bool


@router.get("/mlflow/server-info")
def info() -> Any:
    """Workspaces of MLflow's there are none; a large file comes and goes whole, as it is streamed to the store."""
    return ServerInfo(workspaces_enabled=False, multipart_uploads_enabled=False, multipart_downloads_enabled=False)
