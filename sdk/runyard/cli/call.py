"""One use of the command line: what was asked, the workspace that it is about, where the answer goes."""

import os
from argparse import Namespace
from typing import TYPE_CHECKING, Any, Dict, Optional

from runyard.cli.output import Output

if TYPE_CHECKING:
    from runyard.run import Run
    from runyard.workspace import Workspace

LAST = "@last"


class Place:
    """Which workspace is meant, known without asking a server.

    Attributes:
        server: URL of a team's server, else None.
        folder: the embedded workspace's folder, None for a team's server.
    """

    def __init__(self, said: Dict[str, Any]) -> None:
        from runyard import home

        self.name = str(said.get("workspace_name") or home.DEFAULT_WORKSPACE)
        self.subscription_id = str(said.get("subscription_id") or home.DEFAULT_SUBSCRIPTION)
        self.resource_group = str(said.get("resource_group") or home.DEFAULT_RESOURCE_GROUP)
        self.server: Optional[str] = said.get("server")
        self.folder: Optional[str] = None if self.server else home.workspace_folder(self.name)


class Call:
    """What a command gets.

    Attributes:
        given: the arguments.
        out: where the answer goes.
    """

    def __init__(self, given: Namespace, out: Output, workspace: Optional["Workspace"] = None) -> None:
        self.given = given
        self.out = out
        self._workspace = workspace

    @property
    def place(self) -> Place:
        """Which workspace is meant; no server is asked or started.

        Raises:
            WorkspaceException: the configuration file cannot be read, or ``--workspace`` cannot be meant.
        """
        from runyard import home
        from runyard.errors import WorkspaceException
        from runyard.names import check_workspace_name
        from runyard.workspace import configured

        server, named = os.environ.get("RUNYARD_SERVER"), self.given.workspace
        if server and named:
            raise WorkspaceException(
                "--workspace {} names a workspace of this machine, but RUNYARD_SERVER names the server {}. "
                "Leave one of them out.".format(named, server)
            )
        if server:
            return Place({"server": server})
        if named:
            known = home.read_json(home.identity_file(home.workspace_folder(check_workspace_name(named)))) or {}
            return Place(dict(known, workspace_name=named))
        return Place(configured() or {})

    @property
    def workspace(self) -> "Workspace":
        """The workspace; its server is started where none runs.

        Raises:
            UnknownWorkspaceError: ``--workspace`` names none of this machine.
        """
        if self._workspace is None:
            from runyard.workspace import Workspace

            place = self.place
            if self.given.workspace:
                self._workspace = Workspace.get(place.name)
            elif place.server:
                self._workspace = Workspace(workspace_name=place.name, server=place.server)
            else:
                self._workspace = Workspace(place.subscription_id, place.resource_group, place.name)
        return self._workspace

    @property
    def transport(self) -> Any:
        return self.workspace.transport

    def run(self, named: str) -> "Run":
        """The run that is meant: by its id, by the beginning or end of it, or as ``@last``.

        Raises:
            UnknownRunError: none is.
            UserErrorException: several could be; lists them.
        """
        from runyard.errors import UnknownRunError, UserErrorException
        from runyard.experiment import Experiment
        from runyard.run import Run

        def found(**query: Any) -> Any:
            return self.transport.call("GET", "/runs", query=dict(query, include_children="true"))

        if named == LAST:
            records = found(limit=1)
            if not records:
                raise UnknownRunError("This workspace has no runs yet. `runyard submit SCRIPT` makes one.")
            return Run.get(self.workspace, records[0]["id"])
        try:
            return Run.get(self.workspace, named)
        except UnknownRunError:
            records = [
                each
                for each in (found(id_part=named, view="all", limit=6) if named else [])
                if _fits(named, each["id"])
            ]
            if not records:
                raise
        if len(records) > 1:
            ids = [record["id"] for record in records]
            raise UserErrorException(
                "{!r} could be one of several runs: {}{}. Give more of the id.".format(
                    named, ", ".join(ids[:5]), ", ..." if len(ids) > 5 else ""
                )
            )
        return Run(Experiment(self.workspace, records[0]["experiment"]), records[0]["id"])


def _fits(named: str, run_id: str) -> bool:
    return run_id.startswith(named) or run_id.endswith(named)
