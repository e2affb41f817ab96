"""Workspace: where the server is, and what it holds."""

import os
import uuid
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional

from runyard import home, workspace_config
from runyard.absent import answering
from runyard.errors import UnknownWorkspaceError, WorkspaceException
from runyard.names import check_workspace_name
from runyard.notices import not_used
from runyard.transport.base import Transport

if TYPE_CHECKING:
    from runyard.compute import ComputeTarget
    from runyard.datastore import Datastore
    from runyard.environment import Environment
    from runyard.experiment import Experiment
    from runyard.model import Model
    from runyard.retention import Retention
    from runyard.run import Run


@answering("azureml.core.Workspace")
class Workspace:
    """The top of everything: experiments, runs, models, data and compute of one server.

    Without a server named, a workspace is *embedded*: a folder of this machine with a server that
    starts by itself. ``Workspace()`` opens the one named "default"; ``Workspace(subscription_id,
    resource_group, workspace_name)`` opens the embedded workspace of that name, so that code and
    configuration files written for Azure ML open one unchanged. It is made where it does not exist.

    Args:
        server: URL of a team's server; its token is read from ``$RUNYARD_TOKEN``.

    Raises:
        WorkspaceException: a name against the rules, or the name is taken by a workspace of another
            subscription or resource group.
    """

    def __init__(
        self,
        subscription_id: Optional[str] = None,
        resource_group: Optional[str] = None,
        workspace_name: Optional[str] = None,
        auth: Any = None,
        _location: Optional[str] = None,
        _disable_service_check: bool = False,
        _workspace_id: Optional[str] = None,
        sku: str = "basic",
        tags: Optional[Dict[str, str]] = None,
        _cloud: str = "AzureCloud",
        server: Optional[str] = None,
        transport: Optional[Transport] = None,
    ) -> None:
        self._name = check_workspace_name(workspace_name or home.DEFAULT_WORKSPACE)
        self._subscription_id = subscription_id or home.DEFAULT_SUBSCRIPTION
        self._resource_group = resource_group or home.DEFAULT_RESOURCE_GROUP
        self._folder: Optional[str] = None
        self._details: Optional[Dict[str, Any]] = None
        server = server or os.environ.get("RUNYARD_SERVER")
        if transport is not None:
            self._transport = transport
        elif server:
            self._transport = _server_transport(server)
        else:
            self._folder = home.workspace_folder(self._name)
            keep_identity(self._folder, self._name, self._subscription_id, self._resource_group, tags)
            from runyard import embedded

            self._transport = embedded.transport(self._folder)

    # Opening and making

    @staticmethod
    def create(
        name: str,
        auth: Any = None,
        subscription_id: Optional[str] = None,
        resource_group: Optional[str] = None,
        location: Optional[str] = None,
        create_resource_group: bool = True,
        sku: str = "basic",
        tags: Optional[Dict[str, str]] = None,
        friendly_name: Optional[str] = None,
        *,
        exist_ok: bool = False,
        show_output: bool = True,
        **azure_resources: Any,
    ) -> "Workspace":
        """Makes an embedded workspace on this machine.

        Args:
            exist_ok: whether an existing one is opened instead of refused.
            azure_resources: ``container_registry``, an address such as ``registry.example/team``, is where the workspace's
                server keeps images, from its next start on. Azure's own resources (storage_account, key_vault, a registry
                by its resource id) mean nothing here and are accepted so that scripts run unchanged.
        Raises:
            WorkspaceException: the name is against the rules, or taken and ``exist_ok`` is False.
        """
        check_workspace_name(name)
        registry = str(azure_resources.get("container_registry") or "")
        if registry and not registry.startswith("/"):  # as Azure's resource ids do
            del azure_resources["container_registry"]
        else:
            registry = ""
        not_used(
            "Workspace.create",
            azure_resources,
            "a workspace here is a folder of this machine, nothing of Azure's is made.",
        )
        if name in home.workspace_names() and not exist_ok:
            raise WorkspaceException(
                "A workspace named '{0}' is here already. Open it with Workspace.get('{0}'), or pass exist_ok=True.".format(
                    name
                )
            )
        made = Workspace(subscription_id, resource_group, name, tags=tags)
        if registry and made.folder is not None:
            path = home.identity_file(made.folder)
            home.write_json(path, dict(home.read_json(path) or {}, container_registry=registry))
        settings = {"location": location, "friendly_name": friendly_name, "tags": tags, "sku": sku}
        made.transport.call("PATCH", "/workspace", json={k: v for k, v in settings.items() if v is not None})
        if show_output:
            print("Workspace '{}' is ready.".format(name))
        return made

    @staticmethod
    def get(
        name: str,
        auth: Any = None,
        subscription_id: Optional[str] = None,
        resource_group: Optional[str] = None,
        location: Optional[str] = None,
        cloud: str = "AzureCloud",
        id: Optional[str] = None,
    ) -> "Workspace":
        """Opens a workspace of this machine.

        Raises:
            UnknownWorkspaceError: there is none of that name; says which there are.
        """
        names = home.workspace_names()
        if name not in names:
            raise UnknownWorkspaceError(
                "There is no workspace named '{}' on this machine. There are: {}. Workspace.create(name) makes one.".format(
                    name, ", ".join(names) or "none"
                )
            )
        known = home.read_json(home.identity_file(home.workspace_folder(name))) or {}
        return Workspace(
            subscription_id or known.get("subscription_id"), resource_group or known.get("resource_group"), name
        )

    @staticmethod
    def list(
        subscription_id: Optional[str] = None, auth: Any = None, resource_group: Optional[str] = None
    ) -> Dict[str, List["Workspace"]]:
        """The embedded workspaces of this machine: name to a list of one. No server is started by it."""
        found: Dict[str, List[Workspace]] = {}
        for name in home.workspace_names():
            known = home.read_json(home.identity_file(home.workspace_folder(name))) or {}
            if subscription_id not in (None, known.get("subscription_id")):
                continue
            if resource_group not in (None, known.get("resource_group")):
                continue
            found[name] = [_LazyWorkspace(known.get("subscription_id"), known.get("resource_group"), name)]
        return found

    @staticmethod
    def from_config(
        path: Optional[str] = None, auth: Any = None, _logger: Any = None, _file_name: Optional[str] = None
    ) -> "Workspace":
        """Opens the workspace that a configuration file names.

        Args:
            path: the file, or the folder where the search begins (default: the working directory).
                Searched in ``.azureml/``, ``aml_config/`` and the folder itself for ``config.json``
                and ``project.json``, then in every parent; the first one found counts. With no
                ``path`` and no file anywhere the workspace "default" is opened.
        Raises:
            WorkspaceException: the file cannot be read, is not JSON, or lacks a name; or ``path`` is
                given and nothing is found.
        """
        said = configured(path, _file_name)
        if said is None:
            if path is not None:
                raise WorkspaceException(
                    "No {} was found in '{}', its .azureml/ and aml_config/ folders, or any folder above. "
                    "Workspace(...).write_config() makes one.".format(_file_name or "config.json", path)
                )
            return Workspace()
        if said.get("server"):
            return Workspace(workspace_name=said.get("workspace_name"), server=said["server"])
        return Workspace(said.get("subscription_id"), said.get("resource_group"), said["workspace_name"])

    def write_config(self, path: Optional[str] = None, file_name: Optional[str] = None) -> None:
        """Writes ``.azureml/config.json`` below ``path`` (default: the working directory) for ``from_config``."""
        folder = path or "."
        if os.path.isfile(folder):
            raise WorkspaceException("write_config needs a folder; '{}' is a file.".format(folder))
        folder = os.path.join(folder, ".azureml")
        os.makedirs(folder, exist_ok=True)
        said = {
            "subscription_id": self.subscription_id,
            "resource_group": self.resource_group,
            "workspace_name": self.name,
        }
        home.write_json(os.path.join(folder, file_name or "config.json"), said)

    # What it is

    @property
    def transport(self) -> Transport:
        """Carries requests to this workspace's server."""
        return self._transport

    def with_token(self, token: str) -> Transport:
        """A transport to the same server that speaks for another token."""
        return self.transport.with_token(token)

    @property
    def name(self) -> str:
        return self._name

    @property
    def subscription_id(self) -> str:
        return self._subscription_id

    @property
    def resource_group(self) -> str:
        return self._resource_group

    @property
    def location(self) -> str:
        return str(self.get_details()["location"])

    @property
    def sku(self) -> str:
        return str(self.get_details()["sku"])

    @property
    def tags(self) -> Dict[str, str]:
        return dict(self.get_details()["tags"])

    @property
    def folder(self) -> Optional[str]:
        """The embedded workspace's folder on this machine; None for a team's server."""
        return self._folder

    def get_details(self) -> Dict[str, Any]:
        """What is known of the workspace, under Azure's keys."""
        from runyard.run_details import iso_time

        said = self.transport.call("GET", "/workspace")
        return {
            "id": "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.MachineLearningServices/workspaces/{}".format(
                self.subscription_id, self.resource_group, self.name
            ),
            "name": self.name,
            "location": said.get("location") or "local",
            "type": "Microsoft.MachineLearningServices/workspaces",
            "tags": said.get("tags") or {},
            "sku": said.get("sku") or "Basic",
            "workspaceid": said["id"],
            "description": said.get("description") or "",
            "friendlyName": said.get("friendly_name") or self.name,
            "creationTime": iso_time(said["created_at"]),
        }

    def update(
        self,
        friendly_name: Optional[str] = None,
        description: Optional[str] = None,
        tags: Optional[Dict[str, str]] = None,
        **azure_settings: Any,
    ) -> Dict[str, Any]:
        """Changes what people read of the workspace; gives ``get_details()``.

        Args:
            azure_settings: settings of Azure's resources, which mean nothing here.
        """
        not_used("Workspace.update", azure_settings, "there is nothing of Azure's to change.")
        changes = {"friendly_name": friendly_name, "description": description, "tags": tags}
        self.transport.call("PATCH", "/workspace", json={k: v for k, v in changes.items() if v is not None})
        return self.get_details()

    def delete(self, delete_dependent_resources: bool = False, no_wait: bool = False) -> None:
        """Deletes the embedded workspace: its server is stopped and its folder goes.

        Args:
            delete_dependent_resources: as in Azure: False keeps the data, moved to
                ``~/.runyard/deleted/``; True removes it for good.
        Raises:
            WorkspaceException: a team's server is not deleted from a client.
        """
        if self._folder is None:
            raise WorkspaceException("A team's workspace is deleted on its server, not from a client.")
        import shutil

        from runyard import embedded

        embedded.stop(self._folder)
        if delete_dependent_resources:
            shutil.rmtree(self._folder)
            return
        graveyard = os.path.join(home.root(), "deleted")
        os.makedirs(graveyard, exist_ok=True)
        os.rename(self._folder, os.path.join(graveyard, "{}-{}".format(self.name, uuid.uuid4().hex[:8])))

    # What it holds

    @property
    def experiments(self) -> Dict[str, "Experiment"]:
        from runyard.experiment import Experiment

        return {experiment.name: experiment for experiment in Experiment.list(self)}

    @property
    def compute_targets(self) -> Dict[str, "ComputeTarget"]:
        from runyard.compute import ComputeTarget

        return {target.name: target for target in ComputeTarget.list(self)}

    @property
    def datastores(self) -> Dict[str, "Datastore"]:
        from runyard.datastore import Datastore

        return {record["name"]: Datastore(self, record["name"]) for record in self.transport.call("GET", "/datastores")}

    @property
    def datasets(self) -> Dict[str, Any]:
        """Name to the newest version of each registered dataset."""
        from runyard.abstract_dataset import AbstractDataset

        return AbstractDataset.get_all(self)

    @property
    def environments(self) -> Dict[str, "Environment"]:
        from runyard.environment import Environment

        return Environment.list(self)

    @property
    def models(self) -> Dict[str, "Model"]:
        """Name to the newest version of each model."""
        from runyard.model import Model

        return {model.name: model for model in Model.list(self, latest=True)}

    @property
    def retention(self) -> "Retention":
        """The rules by which old runs go. Azure's classes have no such thing."""
        from runyard.retention import Retention

        return Retention(self)

    def get_default_datastore(self) -> "Datastore":
        """The datastore that is meant where none is named: a folder that the server keeps."""
        from runyard.datastore import Datastore

        return Datastore.get_default(self)

    def set_default_datastore(self, name: str) -> None:
        """Makes the datastore of that name the default."""
        from runyard.datastore import Datastore

        Datastore(self, name).set_as_default()

    def get_run(self, run_id: str) -> "Run":
        """The run of that id, whatever its experiment.

        Raises:
            UnknownRunError: there is none.
        """
        from runyard.run import Run

        return Run.get(self, run_id)

    def search_runs(
        self,
        filter: str = "",
        order_by: str = "",
        limit: Optional[int] = None,
        include_children: bool = False,
        experiment: Optional[str] = None,
    ) -> Iterator["Run"]:
        """The runs that a filter holds for, read page by page as they are asked for. Azure's classes have no such search.

        Args:
            filter: such as ``status = "Completed" and metrics.loss < 0.1 and tags.team = "a" and age < 7d``.
            order_by: such as ``metrics.loss``, or ``-max(metrics.accuracy)`` for the greatest first; without one
                the newest run comes first. Runs that have no such value come last.
            limit: how many at most.
        Raises:
            UserErrorException: the filter is wrong; says where, and what is allowed there.
        """
        from runyard.run import search_runs

        children = "true" if include_children else "false"
        found = search_runs(self, filter, order_by, limit, include_children=children, experiment=experiment)
        return (run for run, _ in found)

    def get_active_runs(self, target: Optional[str] = None) -> Iterator["Run"]:
        """Runs that have not ended, newest first, child runs too; with ``target`` those of that compute target alone."""
        from runyard.protocol.status import RunStatus
        from runyard.run import list_runs

        unfinished = ",".join(status.value for status in RunStatus if not status.is_terminal)
        return list_runs(self, None, target=target, status=unfinished, include_children=True)

    def get_mlflow_tracking_uri(self, _with_auth: bool = False) -> str:
        """The address for ``mlflow.set_tracking_uri``: MLflow's client then tracks in this workspace.

        The token that goes with it is put into this process's variable ``MLFLOW_TRACKING_TOKEN``, where MLflow's
        client finds it.
        """
        from runyard.mlflow_tracking import tracking_uri

        return tracking_uri(self)

    def _repr_html_(self) -> str:
        from runyard.notebook.cards import card

        return card(
            [
                ("Workspace", self.name),
                ("Subscription", self.subscription_id),
                ("Resource group", self.resource_group),
                ("Folder", self._folder),
            ]
        )

    def __repr__(self) -> str:
        return "Workspace.create(name={!r}, subscription_id={!r}, resource_group={!r})".format(
            self.name, self.subscription_id, self.resource_group
        )

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Workspace) and (self.name, self._folder) == (other.name, other._folder)

    def __hash__(self) -> int:
        return hash((self.name, self._folder))


class _LazyWorkspace(Workspace):
    """A listed workspace: its server is started by the first question to it, not by the listing."""

    def __init__(self, subscription_id: Optional[str], resource_group: Optional[str], name: str) -> None:
        self._name = name
        self._subscription_id = subscription_id or home.DEFAULT_SUBSCRIPTION
        self._resource_group = resource_group or home.DEFAULT_RESOURCE_GROUP
        self._folder = home.workspace_folder(name)
        self._details = None

    @property
    def transport(self) -> Transport:
        if "_transport" not in self.__dict__:
            from runyard import embedded

            assert self._folder is not None
            self._transport = embedded.transport(self._folder)
        return self._transport


def _server_transport(server: str) -> Transport:
    from runyard.transport.http import HttpTransport

    token = os.environ.get("RUNYARD_TOKEN")
    if not token:
        raise WorkspaceException(
            "The server {} needs a token: set RUNYARD_TOKEN to the one its owner gave you.".format(server)
        )
    return HttpTransport(lambda: server, lambda: token or "")


def configured(path: Optional[str] = None, file_name: Optional[str] = None) -> Optional[Dict[str, Any]]:
    """What the configuration file that ``Workspace.from_config`` finds says; None where there is none.

    Raises:
        WorkspaceException: it cannot be read, is not JSON, or names no workspace.
    """
    found = workspace_config.find(path, file_name)
    return None if found is None else workspace_config.read(found)


def keep_identity(
    folder: str,
    name: str,
    subscription_id: str = home.DEFAULT_SUBSCRIPTION,
    resource_group: str = home.DEFAULT_RESOURCE_GROUP,
    tags: Optional[Dict[str, str]] = None,
) -> None:
    """Makes an embedded workspace's folder and writes whose it is, where there is none yet.

    Raises:
        WorkspaceException: it is there and belongs to another subscription or resource group.
    """
    path = home.identity_file(folder)
    known = home.read_json(path)
    if known is None:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        said = {"name": name, "subscription_id": subscription_id, "resource_group": resource_group, "tags": tags or {}}
        home.write_json(path, said)
        return
    here = (known.get("subscription_id"), known.get("resource_group"))
    asked = (subscription_id, resource_group)
    if asked != here and asked != (home.DEFAULT_SUBSCRIPTION, home.DEFAULT_RESOURCE_GROUP):
        raise WorkspaceException(
            "The workspace '{}' on this machine belongs to subscription '{}', resource group '{}'; you asked for "
            "subscription '{}', resource group '{}'. Use another name, or another RUNYARD_HOME for the other one.".format(
                name, here[0], here[1], asked[0], asked[1]
            )
        )
