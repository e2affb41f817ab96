"""A conda channel of its own, in a folder and over HTTP: hand-made packages, and whatever may go wrong with a channel."""

import bz2
import hashlib
import io
import json
import os
import struct
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runyard_server.testing.web import MisbehavingServer

PLACEHOLDER = "/where_the_package_was_made" + "_placehold" * 12
"""Stands in a package's files for the prefix that they are installed into."""

_LEFT_OUT = frozenset(
    """__pycache__ test tests idlelib lib2to3 ensurepip tkinter turtledemo site-packages dist-packages
    pydoc_data sqlite3 unittest""".split()
)
_ZSTD_BLOCK = 128 * 1024
_BOMBS_PIECE = 64 << 20


@dataclass(frozen=True)
class Program:
    """A file that may be run. Each ``PLACEHOLDER`` in it becomes the prefix."""

    content: str | bytes


@dataclass(frozen=True)
class Link:
    """A symbolic link to ``target``, beside it."""

    target: str


Content = str | bytes | Program | Link


@dataclass
class CondaChannel:
    """Packages below ``folder``, for the subdirs ``linux-64`` and ``noarch``.

    Attributes:
        subdir: of packages that are not ``noarch``.
    """

    folder: Path
    subdir: str = "linux-64"
    _records: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for subdir in (self.subdir, "noarch"):
            self._records[subdir] = {}
            self._write(subdir)

    @property
    def url(self) -> str:
        """The folder as a channel's address."""
        return self.folder.as_uri()

    def publish(
        self,
        name: str,
        version: str,
        depends: Sequence[str] = (),
        files: Mapping[str, Content] | None = None,
        *,
        constrains: Sequence[str] = (),
        build: str = "0",
        noarch: str | None = None,
        entry_points: Sequence[str] = (),
        suffix: str = ".tar.bz2",
    ) -> Path:
        """Adds a package, or puts other bytes in the place of one that has this name, version and build.

        Args:
            noarch: "python" or "generic"; None is for ``subdir`` alone.
            files: by their path in the package; those of a noarch Python package lie below ``site-packages/``.
            entry_points: of a noarch Python package: "tool = module:function".
            suffix: ".tar.bz2", or ".conda".
        """
        subdir = "noarch" if noarch else self.subdir
        index = {
            "name": name,
            "version": version,
            "build": build,
            "build_number": 0,
            "depends": list(depends),
            "constrains": list(constrains),
            "subdir": subdir,
            "license": "none",
            "timestamp": 1_700_000_000_000,
        }
        if noarch:
            index["noarch"] = noarch
        content = dict(files or {})
        info = {
            "info/index.json": json.dumps(index),
            "info/paths.json": json.dumps({"paths_version": 1, "paths": [_path(*item) for item in content.items()]}),
            "info/files": "".join(path + "\n" for path in content),
            "info/about.json": "{}",
        }
        if noarch == "python":
            info["info/link.json"] = json.dumps(
                {"noarch": {"type": "python", "entry_points": list(entry_points)}, "package_metadata_version": 1}
            )
        path = self.folder / subdir / f"{name}-{version}-{build}{suffix}"
        path.write_bytes(
            _conda(path.name.removesuffix(suffix), info, _zstd(_tar(content)))
            if suffix == ".conda"
            else _tar_bz2({**info, **content})
        )
        self._records[subdir][path.name] = index
        self.list_as_it_is(path)
        return path

    def publish_bomb(self, name: str, size: int, suffix: str = ".tar.bz2") -> Path:
        """Adds version 1.0 of a package of less than 1 MB whose one file has ``size`` bytes, a multiple of 64 MiB."""
        path = self.publish(name, "1.0", suffix=suffix)
        index = json.dumps(self._records[self.subdir][path.name])
        listed = [{"_path": "lib/zeros", "path_type": "hardlink", "size_in_bytes": size}]
        info = {
            "info/index.json": index,
            "info/paths.json": json.dumps({"paths_version": 1, "paths": listed}),
            "info/files": "lib/zeros\n",
            "info/about.json": "{}",
        }
        entry = tarfile.TarInfo("lib/zeros")
        entry.size = size
        if suffix == ".conda":
            path.write_bytes(_conda(f"{name}-1.0-0", info, _zstd(entry.tobuf(), size + 2 * tarfile.BLOCKSIZE)))
        else:
            packer = bz2.BZ2Compressor(9)  # one stream: of several, the library reads the first
            zeros = (packer.compress(bytes(_BOMBS_PIECE)) for _ in range(size // _BOMBS_PIECE))
            head = packer.compress(_tar(info, has_end=False) + entry.tobuf())
            path.write_bytes(b"".join([head, *zeros, packer.compress(bytes(2 * tarfile.BLOCKSIZE)), packer.flush()]))
        self.list_as_it_is(path)
        return path

    def list_as_it_is(self, package: Path) -> None:
        """Gives the package's present bytes in the channel's index: as a channel that took in a damaged one."""
        found = package.read_bytes()
        digests = {"md5": hashlib.md5(found).hexdigest(), "sha256": hashlib.sha256(found).hexdigest()}
        self._records[package.parent.name][package.name].update(digests, size=len(found))
        self._write(package.parent.name)

    def publish_python(self, name: str, version: str, depends: Sequence[str] = (), **more: Any) -> Path:
        """Adds a noarch Python package with one module of that name, which knows its ``version``."""
        module = name.replace("-", "_")
        info = f"site-packages/{module}-{version}.dist-info"
        needs = "Requires-Dist: what-conda-calls-otherwise\n"
        files: dict[str, Content] = {
            f"site-packages/{module}.py": f"version = {version!r}\n\n\ndef main():\n    print(version)\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
            f"{info}/INSTALLER": "conda",
        }
        return self.publish(name, version, ["python", *depends], files, noarch="python", **more)

    def publish_interpreter(self) -> str:
        """Adds this very Python, less what scripts can do without, as the package ``python``; gives its version."""
        version = "{}.{}.{}".format(*sys.version_info)
        name = "python{}.{}".format(*sys.version_info)
        files: dict[str, Content] = {f"bin/{name}": Program(Path(sys.executable).resolve().read_bytes())}
        files |= {"bin/python": Link(name), "bin/python3": Link(name)}
        library = Path(sysconfig.get_path("stdlib"))
        for folder, within, names in os.walk(library):
            within[:] = sorted(each for each in within if each not in _LEFT_OUT and not each.startswith("config-"))
            for each in sorted(names):
                path = Path(folder, each)
                files[f"lib/{library.name}/{path.relative_to(library)}"] = path.read_bytes()
        shared = Path(str(sysconfig.get_config_var("LIBDIR")), str(sysconfig.get_config_var("INSTSONAME")))
        if shared.suffix != ".a" and shared.is_file():
            files[f"lib/{shared.name}"] = shared.read_bytes()
        files[f"lib/{library.name}/site-packages/README.txt"] = "Packages come here.\n"
        self.publish("python", version, files=files, build="0_cpython", suffix=".conda")
        return version

    def withdraw(self, package: Path, keep_listed: bool = False) -> None:
        """Deletes a package; ``keep_listed`` leaves it in the channel's index."""
        package.unlink()
        if not keep_listed:
            del self._records[package.parent.name][package.name]
            self._write(package.parent.name)

    def _write(self, subdir: str) -> None:
        by_kind: dict[str, dict[str, Any]] = {"packages": {}, "packages.conda": {}}
        for name, record in self._records[subdir].items():
            by_kind["packages.conda" if name.endswith(".conda") else "packages"][name] = record
        target = self.folder / subdir / "repodata.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps({"info": {"subdir": subdir}, **by_kind, "removed": [], "repodata_version": 1}))


class ServedChannel(MisbehavingServer):
    """A channel over HTTP, at ``url``, until ``stop``."""

    def __init__(self, channel: CondaChannel) -> None:
        self._folder = channel.folder
        super().__init__()

    @property
    def url(self) -> str:
        return f"{self.address}/channel"

    def content(self, path: str) -> tuple[int, str, bytes]:
        file = self._folder / path.rpartition("/channel/")[2]
        if "/channel/" not in path or not file.is_file():
            return 404, "text/plain", b"not found"
        return 200, "application/octet-stream", file.read_bytes()


def _path(path: str, content: Content) -> dict[str, Any]:
    if isinstance(content, Link):
        return {"_path": path, "path_type": "softlink", "sha256": hashlib.sha256(b"").hexdigest(), "size_in_bytes": 0}
    found = _bytes(content)
    entry: dict[str, Any] = {"_path": path, "path_type": "hardlink"}
    entry |= {"sha256": hashlib.sha256(found).hexdigest(), "size_in_bytes": len(found)}
    if PLACEHOLDER.encode() in found:
        mode = "binary" if b"\0" in found else "text"
        entry |= {"file_mode": mode, "prefix_placeholder": PLACEHOLDER}
    return entry


def _bytes(content: Content) -> bytes:
    plain = content.content if isinstance(content, Program) else content
    assert not isinstance(plain, Link)
    return plain.encode() if isinstance(plain, str) else plain


def _tar(files: Mapping[str, Content], has_end: bool = True) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)  # without the time of day: the same content is the same package
            if isinstance(content, Link):
                entry.type, entry.linkname = tarfile.SYMTYPE, content.target
                archive.addfile(entry)
            else:
                found = _bytes(content)
                entry.size, entry.mode = len(found), 0o755 if isinstance(content, Program) else 0o644
                archive.addfile(entry, io.BytesIO(found))
        end = archive.offset
    return out.getvalue() if has_end else out.getvalue()[:end]


def _tar_bz2(files: Mapping[str, Content]) -> bytes:
    return bz2.compress(_tar(files), 1)


def _conda(stem: str, info: Mapping[str, str], files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        parts = {
            "metadata.json": b'{"conda_pkg_format_version": 2}',
            f"pkg-{stem}.tar.zst": files,
            f"info-{stem}.tar.zst": _zstd(_tar(info)),
        }
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def _zstd(data: bytes, zeros: int = 0) -> bytes:
    """One Zstandard frame (RFC 8878) of raw blocks and, of zeros after them, of repeated bytes: no library is needed."""
    size_of_8_bytes, window_of_a_block = 0b1100_0000, 7 << 3
    out = [struct.pack("<IBBQ", 0xFD2FB528, size_of_8_bytes, window_of_a_block, len(data) + zeros)]
    for at in range(0, len(data), _ZSTD_BLOCK):
        block = data[at : at + _ZSTD_BLOCK]
        out.append(_block_header(len(block), is_raw=True) + block)
    for left in range(zeros, 0, -_ZSTD_BLOCK):
        out.append(_block_header(min(left, _ZSTD_BLOCK), is_raw=False) + b"\0")
    return b"".join([*out, _block_header(0, is_raw=True, is_last=True)])


def _block_header(size: int, is_raw: bool, is_last: bool = False) -> bytes:
    return struct.pack("<I", size << 3 | (not is_raw) << 1 | is_last)[:3]
