"""``runyard workspace``: the workspaces of this machine."""

import os
from typing import Any

from runyard.cli.call import Call
from runyard.cli.output import Column, pairs_text
from runyard.cli.parsing import Commands


def add(commands: Commands) -> None:
    """Adds ``workspace``."""
    noun = commands.noun(
        "workspace",
        "list, create, show and delete workspaces of this machine",
        "runyard workspace create vision\nrunyard --workspace vision workspace config",
    )
    noun.verb("list", list_, "workspaces of this machine, and whether their servers run")
    parser = noun.verb("create", create, "make a workspace on this machine")
    parser.add_argument("name", metavar="NAME", help="its name")
    noun.verb("show", show, "the workspace and what it holds")
    parser = noun.verb(
        "config",
        config,
        "write .azureml/config.json, so that scripts and commands below a folder mean this workspace",
    )
    parser.add_argument("--path", metavar="DIR", default=".", help="the folder (default: this one)")
    parser = noun.verb(
        "delete",
        delete,
        "delete a workspace: its server is stopped and its folder goes",
        "The folder is moved to ~/.runyard/deleted/, unless --forever is said.",
    )
    parser.add_argument("name", metavar="NAME", help="the workspace")
    parser.add_argument("--yes", action="store_true", help="must be said: runs, models and data go with it")
    parser.add_argument("--forever", action="store_true", help="remove the folder instead of moving it aside")
    noun.describe()


def list_(call: Call) -> int:
    """Lists workspaces; starts no server."""
    from runyard import embedded, home
    from runyard.errors import WorkspaceException

    found = []
    for name in home.workspace_names():
        folder = home.workspace_folder(name)
        known = home.read_json(home.identity_file(folder)) or {}
        try:
            server = embedded.running(folder)
        except WorkspaceException:  # of another version: it runs, but not for this client
            server = embedded.describe(folder)
        said = {key: known.get(key) for key in ("subscription_id", "resource_group", "tags")}
        found.append(dict(said, name=name, folder=folder, url=server["url"] if server else None))
    if call.out.as_json:
        call.out.json(found)
    elif not found:
        call.out.note("No workspaces yet. The first command that needs one makes 'default'.")
    else:
        columns = [
            Column("WORKSPACE"),
            Column("SERVER"),
            Column("RESOURCE GROUP", shrinks=True),
            Column("FOLDER", shrinks=True),
        ]
        rows = [(each["name"], each["url"] or "not running", each["resource_group"], each["folder"]) for each in found]
        call.out.table(columns, rows)
    return 0


def create(call: Call) -> int:
    """Makes a workspace."""
    from runyard.workspace import Workspace

    made = Workspace.create(call.given.name, show_output=False)
    if call.out.as_json:
        call.out.json(dict(made.get_details(), folder=made.folder))
    else:
        call.out.say("Workspace '{}' is ready in {}.".format(made.name, made.folder))
    return 0


def show(call: Call) -> int:
    """Shows the workspace."""
    workspace = call.workspace
    details = workspace.get_details()
    transport = call.transport
    holds = {
        "experiments": len(transport.call("GET", "/experiments", query={"view": "all"})),
        "computes": sorted(each["spec"]["name"] for each in transport.call("GET", "/computes")),
        "datastores": sorted(each["name"] for each in transport.call("GET", "/datastores")),
        "models": sorted(workspace.models),
    }
    if call.out.as_json:
        call.out.json(dict(details, folder=workspace.folder, **holds))
        return 0
    call.out.fields(
        [
            ("workspace", workspace.name),
            ("folder", workspace.folder),
            ("subscription", workspace.subscription_id),
            ("resource group", workspace.resource_group),
            ("created", details["creationTime"]),
            ("description", details["description"]),
            ("tags", pairs_text(details["tags"])),
            ("experiments", holds["experiments"]),
            ("compute", _some(holds["computes"])),
            ("datastores", _some(holds["datastores"])),
            ("models", _some(holds["models"])),
        ]
    )
    return 0


def config(call: Call) -> int:
    """Writes the configuration file."""
    call.workspace.write_config(call.given.path)
    path = os.path.join(call.given.path, ".azureml", "config.json")
    if call.out.as_json:
        call.out.json({"path": os.path.abspath(path), "workspace": call.workspace.name})
    else:
        call.out.say("{} names the workspace '{}'.".format(os.path.normpath(path), call.workspace.name))
    return 0


def delete(call: Call) -> int:
    """Deletes a workspace."""
    from runyard import home
    from runyard.errors import UnknownWorkspaceError, UserErrorException
    from runyard.workspace import Workspace

    name = call.given.name
    found = Workspace.list().get(name)
    if found is None:
        raise UnknownWorkspaceError(
            "There is no workspace named '{}' on this machine. There are: {}.".format(
                name, ", ".join(home.workspace_names()) or "none"
            )
        )
    if not call.given.yes:
        raise UserErrorException(
            "Deleting the workspace '{}' takes its runs, models and data in {}. Say --yes to do it.".format(
                name, found[0].folder
            )
        )
    found[0].delete(delete_dependent_resources=call.given.forever)
    if call.out.as_json:
        call.out.json({"name": name, "deleted": True, "forever": call.given.forever})
    else:
        kept = "" if call.given.forever else " Its folder is kept in {}.".format(os.path.join(home.root(), "deleted"))
        call.out.say("The workspace '{}' is deleted.{}".format(name, kept))
    return 0


def _some(names: Any) -> str:
    return ", ".join(names[:10]) + (", ... ({} in all)".format(len(names)) if len(names) > 10 else "")
