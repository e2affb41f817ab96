"""Hand-made wheels and sources, so that environments are resolved and built without a package index."""

import base64
import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path


def make_wheel(folder: Path, name: str, version: str, requires: Sequence[str] = (), content: str = "") -> Path:
    """Writes ``<name>-<version>-py3-none-any.whl`` with one module of that name.

    Args:
        content: the module's source; default: one that knows its ``version``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    files = {
        f"{module}.py": content or f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},{_digest(text)},{len(text.encode())}\n" for path, text in files.items())
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, text in files.items():
            entry = zipfile.ZipInfo(inner)  # without the time of day: the same content is the same wheel
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, text)
    return path


def make_source(folder: Path, name: str, version: str, setup: str) -> Path:
    """Writes ``<name>-<version>.tar.gz`` with this ``setup.py``: the same bytes for the same content."""
    folder.mkdir(parents=True, exist_ok=True)
    top = f"{name.replace('-', '_')}-{version}"
    files = {"PKG-INFO": f"Metadata-Version: 1.0\nName: {name}\nVersion: {version}\n", "setup.py": setup}
    path = folder / f"{top}.tar.gz"
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for inner, text in files.items():
                entry = tarfile.TarInfo(f"{top}/{inner}")
                entry.size = len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))
    return path


def _digest(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
