"""Why uv failed, in one message that names the package or the address, the cause and the cure."""

import re

from runyard_server.environments.uv_command import UvFailed

_REFUSED = re.compile(
    r"HTTP status client error \((?P<status>40[137] [A-Za-z ]+)\) for url \((?P<url>[^)]+)\)"
    r"|An index (?:URL )?\((?P<index>[^)]+)\) (?:could not be queried|returned a) .*?(?P<said>40[137] [A-Z][a-z]+)"
)
_GONE = re.compile(r"HTTP status client error \((?P<status>4(?:04|10) [A-Za-z ]+)\) for url \((?P<url>[^)]+)\)")
_OF = re.compile(r"Failed to (?:download|build|fetch|read)(?: and build)? `([^`]+)`")
_MISMATCH = re.compile(
    r"Hash mismatch for `(?P<package>[^`]+)` Expected: (?P<expected>(?:\w+:[0-9a-f]+ )+)Computed: (?P<got>\w+:[0-9a-f]+)"
)
_URL = re.compile(r"for url \(([^)]+)\)|Failed to fetch: `?([^\s`]+)|unable to access '([^']+)'")
_YANKED = re.compile(r"(\S+==\S+) was yanked \(reason: (.*?)\)(?: and|,| we)")


def of_index(error: UvFailed) -> str | None:
    """What the package index did, where that is the cause: it refused, a file is gone or broken, or its bytes are others."""
    flat = " ".join(error.output.split())
    mismatch = _MISMATCH.search(flat)
    if mismatch:
        return (
            f"The package index gave other bytes for {mismatch['package']} than the lock of the environment names: "
            f"expected {' or '.join(mismatch['expected'].split())}, got {mismatch['got']}. The file was replaced there, "
            "or tampered with on the way; nothing of it was installed. Have the file put back; or, if the new one is "
            f"meant, ask for another version of {_name(mismatch['package'])}, which makes a new lock."
        )
    refused = _REFUSED.search(flat)
    if refused:
        return (
            f"The package index at {refused['url'] or refused['index']} refuses this server "
            f"({refused['status'] or refused['said']}). Give a user and password, or a token, that it takes in its "
            "address (a pip option: --index-url https://user:token@host/simple), or in ~/.netrc of the server's user."
        )
    gone = _GONE.search(flat)
    if gone:
        of = _OF.search(flat)
        what = f"{of[1]} is" if of else "A package is"
        return (
            f"{what} no longer where the package index says that it lies: {gone['url']} answers {gone['status']}. "
            "Have the file put back there, or ask for another version, which makes a new lock."
        )
    if "Failed to extract archive" in flat:
        of = _OF.search(flat)
        return (
            f"The package index gave a damaged file for {of[1] if of else 'a package'}; nothing of it was installed. "
            f"Submit again; if it stays so, the file on the index is broken. uv said: {first_cause(error.output)}"
        )
    return None


def of_network(error: UvFailed) -> str:
    """Which address could not be reached, and why."""
    place = "The git repository" if "Git operation failed" in error.output else "The package index"
    found = _URL.search(error.output)
    address = next((group for group in found.groups() if group), "") if found else ""
    last = error.output.splitlines()[-1].strip().removeprefix("cause: ")
    return f"{place}{' at ' + address if address else ''} cannot be reached ({last})"


def yanked(output: str) -> str | None:
    """The version that was withdrawn by its makers and is taken only by those who ask for exactly it."""
    found = _YANKED.search(" ".join(output.split()))
    if found is None:
        return None
    return (
        f"{found[1]} was yanked by its makers ({found[2]}), and nothing else fits. Ask for another version of "
        f"{_name(found[1])}, or for exactly {found[1]} to take it all the same."
    )


def first_cause(output: str) -> str:
    """The causes that uv gives, on one line, at most 600 characters."""
    kept = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("warning:")]
    text = " ".join(kept)
    text = re.sub(r"^.*?\bcause: ", "", text, count=1)
    return text[:600] + ("…" if len(text) > 600 else "")


def _name(pin: str) -> str:
    return pin.partition("==")[0]
