"""The conda solver in a process of its own: it can be ended at any time, and what it takes of memory goes with it.

``python -m runyard_server.environments.conda_worker`` reads one request (JSON) and writes one answer (JSON); what it
does meanwhile is on standard error. A failure is an answer too: ``{"failed": kind, "message": ...}``.
"""

import asyncio
import errno
import hashlib
import json
import os
import posixpath
import random
import re
import shutil
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from email import message_from_bytes
from pathlib import Path
from typing import Any, Literal
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

from runyard_server.environments import conda_cache

QUICK = 1
PATIENT = int(os.environ.get("RUNYARD_CONDA_RETRIES", "5"))  # some 30 s in all
_PARALLEL = 4
# What a package may unpack to: an honest one is seldom more than ten times its archive, nor has more files than a tree.
_MOST_TIMES = 100
_ALWAYS_MB = int(os.environ.get("RUNYARD_CONDA_UNPACKED_MB", "1000"))
_MOST_FILES = int(os.environ.get("RUNYARD_CONDA_FILES", "200000"))
_LARGEST_LIST = 128_000_000  # bytes of a list of files, which is held in memory
_LISTS = ("info/paths.json", "info/files", "info/link.json")
_METADATA = re.compile(r"(^|/)site-packages/[^/]+\.(dist-info/METADATA|egg-info/PKG-INFO|egg-info)$")
_NETWORK = re.compile(
    r"error sending request|Connection refused|connection reset|dns error|timed out|tcp connect|error decoding"
    r"|HTTP status server error|HTTP status client error \((?:408|425|429)|body|no usable repodata cache",
    re.IGNORECASE,
)
_ANSWERED = re.compile(r"HTTP status client error \((\d+ [^)]*)\) for url \(([^)]+)\)")


class Failed(Exception):
    """What is answered instead of a result.

    ``kind``: network, refused, gone, channel, unsolvable, spec, bytes, archive, astray, vast, install, disk.
    """

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
    _check_folders(prefix)
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
    """Each package into its ``target``, its bytes those of the lock; what is there was looked through."""
    room = asyncio.Semaphore(_PARALLEL)
    client = rattler.Client.default_client(max_retries=0)
    unpacked = _Unpacked()

    async def one(package: Mapping[str, Any]) -> None:
        target = Path(package["target"])
        if target.exists() and _digest(target, package) == _wanted(package):
            os.utime(target)  # it is in use: see conda_cache.prune
            return
        base = _channel(package["channel"], request["alias"]).base_url
        url = f"{base.rstrip('/')}/{package['subdir']}/{package['file_name']}"
        async with room:
            await _fetched(url, target, package, client, unpacked)

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


async def _fetched(
    url: str, target: Path, package: Mapping[str, Any], client: rattler.Client, unpacked: "_Unpacked"
) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = conda_cache.part(target)
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
        await _look_through(part, target.name, unpacked)
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


class _Unpacked:
    """What the packages of one request unpack to, all together: their files lie on one disk."""

    def __init__(self) -> None:
        self._size = 0

    def add(self, size: int, path: Path, name: str) -> None:
        """Raises Failed where the disk of ``path`` has no room for that much more."""
        self._size += size
        free = shutil.disk_usage(path.parent).free
        if self._size > free:
            raise Failed("disk", f"{name} and what is fetched with it need more than the {free / 1e6:,.0f} MB left.")


async def _look_through(path: Path, name: str, unpacked: _Unpacked) -> None:
    """Raises Failed where a package would fill the disk, or lists a place that is not below its prefix.

    The library would unpack all of it, and go to that place. Nothing is written here: each entry says its size before its
    bytes, and the first one too many ends it. Both parts are read side by side, since either may be the endless one.
    """
    most, size, count = max(path.stat().st_size * _MOST_TIMES, _ALWAYS_MB * 1_000_000), 0, 0

    async def look(archive: PackageArchive, section: Literal["info", "pkg"]) -> None:
        nonlocal size, count
        async for entry in archive.stream(section):
            size, count = size + entry.size, count + 1
            if size > most:
                raise Failed("vast", f"unpacks to more than {most / 1e6:,.0f} MB", package=name)
            if count > _MOST_FILES:
                raise Failed("vast", f"has more than {_MOST_FILES:,} files", package=name)
            unpacked.add(entry.size, path, name)
            listed = posixpath.normpath(entry.name)
            if listed in _LISTS:  # each of them, if there are several: the last one is what is unpacked
                if entry.size > _LARGEST_LIST:
                    raise Failed("vast", f"has a list of files of {entry.size / 1e6:,.0f} MB", package=name)
                _check_places(listed, await entry.read(), name)

    try:
        archive = await PackageArchive.from_path(path)
        async with asyncio.TaskGroup() as group:
            group.create_task(look(archive, "pkg"))
            group.create_task(look(archive, "info"))
    except* (ExtractError, OSError) as errors:  # an entry that is no plain file, or lies nowhere
        raise Failed("archive", str(errors.exceptions[0]), package=name) from errors


def _check_places(listed: str, content: bytes, name: str) -> None:
    """Raises Failed where one of a package's lists (``_LISTS``) has a place that is not below its prefix."""
    places: list[str] = []
    programs: list[str] = []
    try:
        if listed == "info/files":
            places = content.decode().splitlines()
        elif listed == "info/paths.json":
            places = [entry["_path"] for entry in json.loads(content).get("paths", [])]
        else:
            noarch = json.loads(content).get("noarch", {})
            programs = [each.partition("=")[0].strip() for each in noarch.get("entry_points") or []]
        wrong = [place for place in places if place.startswith("/") or ".." in place.split("/") or "\0" in place]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Failed("archive", f"its own list of files cannot be read: {error!r}", package=name) from error
    wrong += [program for program in programs if "/" in program or "\0" in program or program in ("", ".", "..")]
    if wrong:
        raise Failed("astray", f"{wrong[0]!r:.200}", package=name)


def _check_folders(prefix: Path) -> None:
    """Raises Failed where a folder that others write to after the packages is a link that leads out of the prefix."""
    inside = prefix.resolve()
    written = [prefix / name for name in ("bin", "lib", "include", "share", "etc", "conda-meta")]
    for folder in [*written, *prefix.glob("lib/python*"), *prefix.glob("lib/python*/site-packages")]:
        if not folder.resolve().is_relative_to(inside):
            name = str(folder.relative_to(prefix))
            folder.unlink()  # so that not even a later build of this folder goes there
            raise Failed("astray", f"{name!r}, a link to somewhere else,", package=_owner(prefix, name))


def _owner(prefix: Path, place: str) -> str:
    """The package that brought a file."""
    for path in sorted(prefix.glob("conda-meta/*.json")):
        listed = json.loads(path.read_text(encoding="utf-8")).get("paths_data", {}).get("paths", [])
        if any(entry["_path"] == place for entry in listed):
            return path.stem
    return "one of them"


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
