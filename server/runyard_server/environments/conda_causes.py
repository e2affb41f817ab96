"""Why the conda solver failed, in one message that names the package or the channel, the cause and the cure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from runyard_server.environments import conda
from runyard_server.environments.programs import masked

_ABSENT = re.compile(r"No candidates were found for ([\w.\-]+) (.*?)\.?$", re.MULTILINE)
_NOT_HERE = re.compile(r"(__\w+)[^,\n]*, for which no candidates were found")
_CURES = (
    "Whoever runs the server names others with RUNYARD_CONDA_CHANNELS, or a mirror with RUNYARD_CONDA_ALIAS; an environment "
    "names its own with add_channel."
)


def of_solving(answer: Mapping[str, Any], specs: Sequence[str], channels: Sequence[str]) -> str:
    """Why there are no packages for ``specs``."""
    kind, message = answer["failed"], str(answer["message"])
    named = ", ".join(masked(channel) for channel in channels)
    if kind == "spec":
        return (
            f"The conda package {masked(str(answer['spec']))!r} cannot be read: {message}. Write a name and a version, "
            "such as 'numpy=1.24', 'numpy>=1.20,<2' or 'conda-forge::numpy=1.24=py311h64a7726_0'."
        )
    if kind == "unsolvable":
        return _unsolvable(message, answer.get("virtual_packages") or [], named) + _other_cures(specs)
    if kind == "bytes":
        return f"{message} A package without one cannot be locked: take it from another channel."
    return f"{_of_channel(answer)} {_other_cures(specs)}".rstrip()


def of_packages(answer: Mapping[str, Any]) -> str:
    """Why the packages of a lock did not come, or were not installed."""
    kind, name, url = answer["failed"], answer.get("package", ""), answer.get("url", "")
    if kind == "bytes":
        return (
            f"The conda channel gave other bytes for {name} than the lock of the environment names: expected "
            f"{answer['expected']}, got {answer['got']} ({url}). The file was replaced there, or damaged on the way; "
            "nothing of it was installed. Submit again; if it stays so, have the file put back, or ask for another "
            "version, which makes a new lock."
        )
    if kind == "gone":
        return (
            f"The lock of the environment names the conda package {name}, which is no longer at {url}. Have it put back "
            "there, or ask for another version, which makes a new lock."
        )
    if kind == "archive":
        return (
            f"The conda package {name} is damaged as its channel has it ({answer['message']}); nothing of it was "
            "installed. Ask for another version or build."
        )
    if kind == "astray":
        return (
            f"The conda package {name} is refused: it has {answer['message']} among its files, which would lie outside of "
            "the environment. It was made to do harm, or badly. Ask for another version or build, or take it from another "
            "channel (add_channel)."
        )
    if kind == "vast":
        return (
            f"The conda package {name} is refused: it {answer['message']}. It was made to fill disks, or badly; nothing of "
            "it was unpacked or kept. Ask for another version or build, or take it from another channel (add_channel). If "
            "it is meant to be so large, whoever runs the server allows more with RUNYARD_CONDA_UNPACKED_MB or "
            "RUNYARD_CONDA_FILES."
        )
    if kind == "install":
        return f"The conda packages could not be installed: {answer['message']}"
    return f"{_of_channel(answer)} What was fetched so far is kept."


def _of_channel(answer: Mapping[str, Any]) -> str:
    kind, message = answer["failed"], str(answer["message"])
    url = re.sub(r"/[\w-]+/repodata[^/]*$", "", str(answer.get("url", "")))  # the channel, not one of its files
    cause = message.splitlines()[-1].removeprefix("Caused by: ").strip() if message else ""
    cause = re.sub(r" for url \([^)]*\)", "", cause)
    if kind == "refused":
        return (
            f"The conda channel at {url} refuses this server ({cause}). Give a user and password, or a token, that it "
            "takes in its address (https://user:password@host/channel, https://host/t/token/channel)."
        )
    if kind == "network":
        return (
            f"The conda channel at {url} cannot be reached ({cause}). It was asked several times. Check the network and "
            f"submit again. {_CURES}"
        )
    if message == "there is no channel":
        return f"There is no conda channel at {url}. Check its name. {_CURES}"
    return f"The conda channel{' at ' + url if url else ''} cannot be used ({message}). {_CURES}"


def _unsolvable(message: str, virtual: Sequence[str], channels: str) -> str:
    text = re.sub(r"^Cannot solve the request because of: ", "", message).strip()
    lacking = _NOT_HERE.search(text)
    if lacking:
        here = ", ".join(virtual)
        return (
            f"The conda packages need {lacking[1]} as this machine does not have it. It has: {here}. The conda solver "
            f"said:\n{masked(text)}"
        )
    absent = _ABSENT.match(text)
    if absent and "\n" not in text:
        version = "" if absent[2].strip() in ("", "*") else f" in the version '{absent[2].strip()}'"
        return (
            f"The conda channels have no package '{absent[1]}'{version} for this platform. Channels asked: {channels}. "
            "Check its spelling, ask for a version that exists, or name the channel that has it (add_channel)."
        )
    return (
        f"The conda packages do not fit together (channels: {channels}; a package comes from the first that has it). "
        f"Loosen a version, or name another channel. The conda solver said:\n{masked(text)}"
    )


def _other_cures(specs: Sequence[str]) -> str:
    known = [f"{name}: {conda.cure(name)}" for spec in specs if conda.cure(name := conda.name_of(spec))]
    return f" Without conda: {'; '.join(known)}." if known else ""
