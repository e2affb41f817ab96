"""What a server is told: where its home is, where it listens, what it may use."""

import ipaddress
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from runyard import home as places
from runyard_server.environments.conda_channels import CondaSettings
from runyard_server.environments.container_engine import ContainerSettings

IDLE_S = 3600.0


@dataclass(frozen=True)
class Settings:
    """One server's settings.

    Attributes:
        home: the workspace's folder (mode 0700).
        workspace: the workspace's name.
        port: 0 for the port of last time, or any where that is taken.
        database: SQLAlchemy URL; SQLite in the home by default.
        embedded: started by a client: ends by itself after ``idle_s`` with nothing to do.
        as_json: whether it says where it listens as a JSON document instead of a sentence.
        environments: folder of the built environments, shared by the user's workspaces.
        python_directories: searched first for interpreters.
        datastore_roots: folders below which a client may attach datastores.
        conda: how conda packages are answered.
        pytorch_cpu: where PyTorch's CPU builds are: the address of an index, or a folder of wheels.
        containers: how environments with a container image are served.
        public_url: where nodes on other machines reach the server, if not where it listens.
        default_executor: who provides the nodes of a compute target that names no executor.
    """

    home: Path
    workspace: str = "default"
    host: str = "127.0.0.1"
    port: int = 0
    database: str = ""
    embedded: bool = False
    as_json: bool = False
    idle_s: float = IDLE_S
    environments: Path = field(default_factory=lambda: Path(places.root()) / "environments")
    python_directories: tuple[Path, ...] = ()
    wheels: Path | None = None
    datastore_roots: tuple[Path, ...] = ()
    conda: CondaSettings = field(default_factory=CondaSettings)
    pytorch_cpu: str = ""
    containers: ContainerSettings = field(default_factory=ContainerSettings)
    public_url: str = ""
    default_executor: str = "local"

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.home / 'records.db'}"

    @property
    def is_local(self) -> bool:
        """Whether only processes of this machine can reach the server."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def hosts(self) -> list[str]:
        """Host names that the server answers to; a name that somebody else's DNS leads here is none of them."""
        names = [self.host, "localhost"]
        if not self.is_local:
            names.append(socket.gethostname().lower())
        public = urlsplit(self.public_url).hostname
        return [*names, public] if public else names

    @property
    def out_of_reach(self) -> str:
        """Why nodes on other machines cannot reach the server, "" where they can as far as is known."""
        if self.public_url or not (self.is_local or self.host in ("0.0.0.0", "::")):
            return ""
        return (
            f"Nodes on other machines are told that this server is at {self.host}, which leads to themselves. Start it "
            "with --host ADDRESS (one of this machine that they reach) or with --public-url URL."
        )

    @property
    def server_file(self) -> Path:
        """Holds the running server's address and token; mode 0600."""
        return self.home / "server.json"


def load(home: str, environ: Mapping[str, str], **given: object) -> Settings:
    """Settings from the command line (``given``) and the environment.

    ``RUNYARD_PYTHONS`` and ``RUNYARD_DATASTORE_ROOTS`` are lists of folders, ``RUNYARD_WHEELS`` is one,
    ``RUNYARD_IDLE_S`` seconds; of ``RUNYARD_CONDA``, ``RUNYARD_CONDA_CHANNELS`` and ``RUNYARD_CONDA_ALIAS`` see
    ``CondaSettings``, of ``RUNYARD_CONTAINER_ENGINE``, ``RUNYARD_CONTAINER_REGISTRY`` and ``RUNYARD_CONTAINER_IMAGE`` see
    ``ContainerSettings``. ``RUNYARD_PYTORCH_CPU``, ``RUNYARD_PUBLIC_URL`` and ``RUNYARD_DEFAULT_EXECUTOR`` are the
    settings of these names.

    Raises:
        ValueError: a variable that cannot be read; says which and what is allowed.
    """
    folder = Path(os.path.abspath(home))
    identity = places.read_json(places.identity_file(str(folder))) or {}
    known = {key: value for key, value in given.items() if value is not None}
    known.setdefault("public_url", environ.get("RUNYARD_PUBLIC_URL", ""))
    known["public_url"] = str(known["public_url"]).rstrip("/")
    return Settings(
        home=folder,
        workspace=str(identity.get("name") or folder.name),
        idle_s=float(environ.get("RUNYARD_IDLE_S", IDLE_S)),
        default_executor=environ.get("RUNYARD_DEFAULT_EXECUTOR") or "local",
        python_directories=_folders(environ.get("RUNYARD_PYTHONS", "")),
        wheels=Path(environ["RUNYARD_WHEELS"]) if environ.get("RUNYARD_WHEELS") else None,
        datastore_roots=_folders(environ.get("RUNYARD_DATASTORE_ROOTS", "")),
        conda=CondaSettings.read(environ),
        pytorch_cpu=_place(environ.get("RUNYARD_PYTORCH_CPU", "")),
        containers=ContainerSettings.read(environ, str(identity.get("container_registry") or "")),
        **known,  # type: ignore[arg-type]
    )


@dataclass(frozen=True)
class Secrets:
    """What only this workspace's server and its owner know. Kept in the home, so that tokens outlive a restart."""

    token: str
    signing_key: bytes


def secrets_of(home: Path) -> Secrets:
    """The workspace's secrets; made at the first start, in a file that only its owner can read."""
    path = home / "secrets.json"
    known = places.read_json(str(path))
    if known is None:
        known = {"token": secrets.token_urlsafe(32), "signing_key": secrets.token_hex(32)}
        places.write_json(str(path), known, private=True)
    return Secrets(known["token"], bytes.fromhex(known["signing_key"]))


def _place(text: str) -> str:
    """Raises ValueError for what is neither an address nor a whole path."""
    if text and not (os.path.isabs(text) or text.startswith(("http://", "https://"))):
        raise ValueError(
            f"RUNYARD_PYTORCH_CPU is {text!r}. Allowed: the http(s) address of a package index, or the whole path of a "
            "folder of wheels."
        )
    return text


def _folders(text: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in text.split(os.pathsep) if part)
