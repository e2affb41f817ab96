"""Where conda packages come from: the channels of an environment, or else the server's."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runyard.errors import EnvironmentException
from runyard_server.environments.programs import masked

WHEN_NEEDED = "when-needed"
ALWAYS = "always"
NEVER = "never"
SOLVER_CHOICES = (WHEN_NEEDED, ALWAYS, NEVER)
COMMUNITY = "conda-forge"

_NAME = re.compile(r"^[A-Za-z0-9_][\w.\-]*(/[\w.\-]+)*$")
_ADDRESS = re.compile(r"^(https?|file|oci|s3|gcs)://\S+$")
_NO_DEFAULTS = "nodefaults"
_DEFAULTS = "defaults"


@dataclass(frozen=True)
class CondaSettings:
    """How this server answers conda packages.

    Attributes:
        solver: which of them go to the conda solver: those that pip's registry lacks, all, or none.
        channels: of environments that name none, and what the name ``defaults`` stands for.
        alias: address below which a channel that is only a name lies; None for the solver's own.
    """

    solver: str = WHEN_NEEDED
    channels: tuple[str, ...] = (COMMUNITY,)
    alias: str | None = None

    @staticmethod
    def read(environ: Mapping[str, str]) -> "CondaSettings":
        """From ``RUNYARD_CONDA``, ``RUNYARD_CONDA_CHANNELS`` (with spaces or commas between) and ``RUNYARD_CONDA_ALIAS``.

        Raises:
            ValueError: a word that none of them knows.
        """
        solver = environ.get("RUNYARD_CONDA") or WHEN_NEEDED
        if solver not in SOLVER_CHOICES:
            raise ValueError(f"RUNYARD_CONDA is {solver!r}. Allowed: {', '.join(SOLVER_CHOICES)}.")
        named = [part for part in re.split(r"[,\s]+", environ.get("RUNYARD_CONDA_CHANNELS", "")) if part]
        return CondaSettings(solver, tuple(named) or (COMMUNITY,), environ.get("RUNYARD_CONDA_ALIAS") or None)


def solver_for(asked: str | None, settings: CondaSettings | None) -> str:
    """Which conda packages of an environment go to the solver. A server that says "never" is not overruled.

    Raises:
        EnvironmentException: the environment asks for a choice that there is not.
    """
    if asked is not None and asked not in SOLVER_CHOICES:
        allowed = ", ".join(repr(each) for each in SOLVER_CHOICES)
        raise EnvironmentException(
            f"python.conda_solver is {asked!r}. Allowed: {allowed}, or None for the server's own."
        )
    if settings is None or settings.solver == NEVER:
        return NEVER
    return asked or settings.solver


def chosen(asked: Sequence[str], settings: CondaSettings, notes: list[str]) -> list[str]:
    """Names and addresses of the channels to be used, the preferred first.

    ``defaults`` stands for the server's own: Anaconda's channels, which conda means by it, have terms that not
    everybody may accept, so nothing leads there but their own names.

    Raises:
        EnvironmentException: something that is no channel.
    """
    found: list[str] = []
    for channel in asked:
        text = channel.strip()
        if text == _DEFAULTS:
            own = ", ".join(masked(each) for each in settings.channels)
            notes.append(f"the conda channel 'defaults' stands for this server's own: {own}")
            found.extend(address(each) for each in settings.channels)
        elif text != _NO_DEFAULTS:
            found.append(address(text))
    return list(dict.fromkeys(found or [address(each) for each in settings.channels]))


def address(channel: str) -> str:
    """A channel as the solver takes it: a name as it is, a folder as its address.

    Raises:
        EnvironmentException: it is neither a name, an address nor an absolute folder.
    """
    if _NAME.match(channel):
        return channel
    if channel.startswith("/"):
        return f"file://{os.path.normpath(channel)}"
    if not _ADDRESS.match(channel):
        raise EnvironmentException(
            f"The conda channel {masked(channel)[:100]!r} cannot be read. Give a name ('conda-forge'), an address "
            "('https://host/channel', 'file:///folder'), or an absolute folder on the server."
        )
    return channel.rstrip("/")
