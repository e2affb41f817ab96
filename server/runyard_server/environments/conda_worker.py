"""The conda solver in a process of its own: it can be ended at any time, and what it takes of memory goes with it.

``python -m runyard_server.environments.conda_worker`` reads one request (JSON) and writes one answer (JSON); what it
does meanwhile is on standard error. A failure is an answer too: ``{"failed": kind, "message": ...}``.
"""

import asyncio
import errno
import hashlib
import json
import os
import random
import re
import shutil
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from email import message_from_bytes
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import rattler
from rattler.exceptions import (
    ExtractError,
    GatewayError,
    InstallerError,
    InvalidChannelError,
    InvalidMatchSpecError,
    SolverError,
)
from rattler.package_streaming import PackageArchive, download_to_path

QUICK = 1
PATIENT = int(os.environ.get("RUNYARD_CONDA_RETRIES", "5"))  # some 30 s in all
_PARALLEL = 4
_METADATA = re.compile(r"(^|/)site-packages/[^/]+\.(dist-info/METADATA|egg-info/PKG-INFO|egg-info)$")
_NETWORK = re.compile(
    r"error sending request|Connection refused|connection reset|dns error|timed out|tcp connect|error decoding"
    r"|HTTP status server error|HTTP status client error \((?:408|425|429)|body|no usable repodata cache",
    re.IGNORECASE,
)
_ANSWERED = re.compile(r"HTTP status client error \((\d+ [^)]*)\) for url \(([^)]+)\)")


class Failed(Exception):
    """What is answered instead of a result. ``kind``: network, refused, gone, channel, unsolvable, spec, bytes, disk."""

    def __init__(self, kind: str, message: str, **more: object) -> None:
        super().__init__(message)
        self.answer = {"failed": kind, "message": message, **more}


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


async def solve(request: Mapping[str, Any]) -> dict[str, object]:
    """Exact packages for ``specs``, from ``channels``; the first of the sets of ``constraints`` that fits counts."""
    channels = [_channel(name, request["alias"]) for name in request["channels"]]
    specs = [_spec(text, request["alias"]) for text in request["specs"]]
    action = "force-cache-only" if request["offline"] else "cache-or-fetch"
    gateway = rattler.Gateway(
        cache_dir=Path(request["cache"]),
        default_config=rattler.SourceConfig(cache_action=action),  # type: ignore[arg-type]
        client=rattler.Client.default_client(max_retries=PATIENT if request["patient"] else QUICK),
        show_progress=False,
    )
    virtual = rattler.VirtualPackage.detect(rattler.VirtualPackageOverrides.from_env())
    unsolvable, as_of = None, request.get("as_of")
    for constraints in request["constraints"] or [[]]:
        try:
            records = await rattler.solve(
                channels,
                specs,
                gateway=gateway,
                virtual_packages=virtual,
                constraints=[_spec(text, request["alias"]) for text in constraints],
                channel_relations="disabled",
                exclude_newer=datetime.fromisoformat(f"{as_of}T00:00:00+00:00") if as_of else None,
            )
        except SolverError as error:
            unsolvable = unsolvable or error
            continue
        except GatewayError as error:
            raise _of_gateway(str(error)) from error
        named = list(zip(request["channels"], [channel.base_url for channel in channels]))
        return {"packages": sorted((_package(record, named) for record in records), key=lambda each: each["name"])}
    detected = [str(each.into_generic()) for each in virtual]
    raise Failed("unsolvable", str(unsolvable).strip(), virtual_packages=detected)


async def install(request: Mapping[str, Any]) -> dict[str, object]:
    """The ``packages`` in ``prefix``, each file as the package itself records it; fetches those that are not here."""
    await _fetch(request)
    records = [await _record(Path(package["target"])) for package in request["packages"]]
    prefix, cache = Path(request["prefix"]), Path(request["cache"])
    await _installed(records, prefix, cache)
    changed = _changed(prefix)
    if changed:
        # Files of a prefix are hard links into the cache: a script wrote into one.
        say(f"The package cache holds a damaged copy of {', '.join(sorted(changed))}; unpacking afresh")
        for name in changed.values():
            shutil.rmtree(cache / name, ignore_errors=True)
        await _installed(records, prefix, cache, reinstall=set(changed))
        changed = _changed(prefix)
        if changed:  # the archives have the lock's digest: their makers did not update the record
            say(f"The files of {', '.join(sorted(changed))} are not as the package itself records")
    scripts = sorted(path.name.removesuffix("-post-link.sh").lstrip(".") for path in prefix.glob("bin/.*-post-link.sh"))
    if scripts:
        say(f"The scripts that {', '.join(scripts)} would run after installing are not run")
    return {}


async def projects(request: Mapping[str, Any]) -> dict[str, object]:
    """Name and version of what ``packages`` install for pip to see; fetches those that are not here."""
    await _fetch(request)
    found: list[list[str]] = []
    for package in request["packages"]:
        path = Path(package["target"])
        try:
            archive = await PackageArchive.from_path(path)
            listed = [str(each.relative_path) for each in (await archive.paths_json()).paths]
            files = await archive.read_files(name for name in listed if _METADATA.search(name))
        except ExtractError as error:
            raise Failed("archive", str(error), package=path.name) from error
        headers = [message_from_bytes(content) for content in files.values() if content]
        found += [[each["Name"], each["Version"]] for each in headers if each["Name"] and each["Version"]]
    return {"projects": found}


OPERATIONS: dict[str, Callable[[Mapping[str, Any]], Coroutine[Any, Any, dict[str, object]]]] = {
    "solve": solve,
    "install": install,
    "projects": projects,
}


async def _fetch(request: Mapping[str, Any]) -> None:
    """Each package into its ``target``, its bytes those of the lock."""
    room = asyncio.Semaphore(_PARALLEL)
    client = rattler.Client.default_client(max_retries=0)

    async def one(package: Mapping[str, Any]) -> None:
        target = Path(package["target"])
        if target.exists() and _digest(target, package) == _wanted(package):
            os.utime(target)  # it is in use: see conda_cache.prune
            return
        base = _channel(package["channel"], request["alias"]).base_url
        async with room:
            await _fetched(f"{base.rstrip('/')}/{package['subdir']}/{package['file_name']}", target, package, client)

    async with asyncio.TaskGroup() as group:  # the first failure ends the rest
        for package in request["packages"]:
            group.create_task(one(package))


def _channel(name: str, alias: str | None) -> rattler.Channel:
    config = rattler.ChannelConfig(alias.rstrip("/") + "/") if alias else rattler.ChannelConfig()
    return rattler.Channel(name, config)


def _spec(text: str, alias: str | None) -> rattler.MatchSpec:
    """A match spec whose channel, if it names one, is an address: names are ours to resolve."""
    channel, found, rest = text.rpartition("::")
    try:
        if found:
            return rattler.MatchSpec(f"{_channel(channel, alias).base_url}::{rest}", strict=False)
        return rattler.MatchSpec(text, strict=False)
    except (InvalidMatchSpecError, InvalidChannelError) as error:
        raise Failed("spec", str(error), spec=text) from error


def _package(record: rattler.RepoDataRecord, channels: Sequence[tuple[str, str]]) -> dict[str, Any]:
    within = [(name, base) for name, base in channels if record.url.startswith(base)]
    name, base = max(within, key=lambda pair: len(pair[1]))  # one channel may lie within another
    subdir, _, file_name = record.url[len(base) :].strip("/").partition("/")
    if record.sha256 is None and record.md5 is None:
        raise Failed("bytes", f"The channel {name} names no digest for {record.file_name}.", package=record.file_name)
    return {
        "name": record.name.normalized,
        "version": str(record.version),
        "build": str(record.build),
        "channel": name,
        "subdir": subdir,
        "file_name": unquote(file_name),
        "sha256": record.sha256.hex() if record.sha256 else None,
        "md5": record.md5.hex() if record.md5 else None,
        "size_bytes": record.size or 0,
    }


async def _fetched(url: str, target: Path, package: Mapping[str, Any], client: rattler.Client) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        for left in reversed(range(PATIENT + 1)):
            try:
                if url.startswith("file://"):
                    shutil.copyfile(unquote(urlsplit(url).path), part)
                else:
                    await download_to_path(client, url, part)
            except FileNotFoundError as error:
                raise Failed("gone", str(error), package=package["file_name"], url=url) from error
            except (RuntimeError, OSError) as error:
                failed = _of_download(error, url, package["file_name"])
            else:
                got = _digest(part, package)
                if got == _wanted(package):
                    break
                failed = Failed(
                    "bytes", "other bytes", package=package["file_name"], url=url, got=got, expected=_wanted(package)
                )
            if failed.answer["failed"] != "network" or not left:
                raise failed
            say(f"{package['file_name']} did not come ({str(failed).splitlines()[-1]}); asking again")
            await asyncio.sleep((0.2 + random.random() * 0.2) * 2 ** (PATIENT - left))
        os.replace(part, target)
        say(f"Fetched {package['file_name']} ({target.stat().st_size / 1e6:,.1f} MB)")
    finally:
        part.unlink(missing_ok=True)


def _of_download(error: Exception, url: str, name: str) -> Failed:
    text = str(error)
    if isinstance(error, OSError) or "os error 28" in text or "os error 122" in text:
        is_full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "os error" in text
        return Failed("disk" if is_full else "channel", text, package=name, url=url)
    answered = _ANSWERED.search(text)
    if answered and answered[1][:3] in ("404", "410"):
        return Failed("gone", answered[1], package=name, url=url)
    if answered and answered[1][:3] in ("401", "403", "407"):
        return Failed("refused", answered[1], url=url)
    return Failed("network", text, url=url)


def _of_gateway(text: str) -> Failed:
    answered = _ANSWERED.search(text)
    missing = re.search(r"could not find subdir '[^']+' in channel '([^']+)'", text)
    if missing:
        return Failed("channel", "there is no channel", url=missing[1])
    if answered and answered[1][:3] in ("401", "403", "407"):
        return Failed("refused", answered[1], url=answered[2])
    url = re.search(r"for url \(([^)]+)\)|cache for (\S+)", text)
    kind = "network" if _NETWORK.search(text) else "channel"
    return Failed(kind, text, url=(url[1] or url[2]) if url else "")


async def _record(path: Path) -> rattler.RepoDataRecord:
    try:
        return await rattler.RepoDataRecord.from_package_archive(path)
    except ExtractError as error:
        raise Failed("archive", str(error), package=path.name) from error


async def _installed(
    records: list[rattler.RepoDataRecord], prefix: Path, cache: Path, reinstall: set[str] | None = None
) -> None:
    try:
        await rattler.install(
            records,
            prefix,
            cache_dir=cache,
            reinstall_packages=reinstall,
            execute_link_scripts=False,  # a package's scripts are not the server's to run
            show_progress=False,
        )
    except InstallerError as error:
        kind = "disk" if "os error 28" in str(error) or "os error 122" in str(error) else "install"
        raise Failed(kind, str(error)) from error


def _changed(prefix: Path) -> dict[str, str]:
    """Packages with a file that is not what they record, and the folder of each in the cache."""
    changed = {}
    for path in prefix.glob("conda-meta/*.json"):
        meta = json.loads(path.read_text(encoding="utf-8"))
        for entry in meta.get("paths_data", {}).get("paths", []):
            expected = entry.get("sha256_in_prefix") or entry.get("sha256")
            file = prefix / entry["_path"]
            if expected and entry.get("path_type") == "hardlink" and not file.is_symlink():
                if not file.is_file() or _sha256(file) != expected:
                    changed[meta["name"]] = path.stem
                    break
    return changed


def _digest(path: Path, package: Mapping[str, Any]) -> str:
    kind = "sha256" if package["sha256"] else "md5"
    with open(path, "rb") as source:
        return f"{kind}:{hashlib.file_digest(source, kind).hexdigest()}"


def _wanted(package: Mapping[str, Any]) -> str:
    return f"sha256:{package['sha256']}" if package["sha256"] else f"md5:{package['md5']}"


def _sha256(path: Path) -> str:
    with open(path, "rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def main() -> None:
    request = json.load(sys.stdin)
    try:
        answer = asyncio.run(OPERATIONS[request["do"]](request))
    except* Failed as failures:
        first: BaseException = failures
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        assert isinstance(first, Failed)
        answer = dict(first.answer)
    except* OSError as failures:
        fault: BaseException = failures
        while isinstance(fault, BaseExceptionGroup):
            fault = fault.exceptions[0]
        assert isinstance(fault, OSError)
        if fault.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        answer = {"failed": "disk", "message": str(fault)}
    json.dump(answer, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # the library's own threads may still run, and bring down an interpreter that ends in good order


if __name__ == "__main__":
    main()
