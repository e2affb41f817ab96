"""A small root file system for container tests: this machine's Python, a shell, and the libraries that they and uv need.

No network and no package of a distribution is needed for it, and it is made in a second or two.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from uv import find_uv_bin

_LEFT_OUT = (
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "lib2to3",
    "ensurepip",
    "site-packages",
    "__pycache__",
    "pydoc_data",
)
_LEFT_OUT_MODULES = ("_tkinter", "_test", "_xxtest", "_ctypes_test", "_codecs_")
_LIBRARY = re.compile(r"(/\S+) \(0x")
_WORTH_STRIPPING = 1 << 20
_PASSWD = "root:x:0:0:root:/root:/bin/sh\n"


def write_base(path: Path) -> None:
    """Writes the file system as a tar archive, with ``python`` in /usr/local/bin and ``sh`` in /bin."""
    prefix = Path(sys.base_prefix)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    with tarfile.open(path, "w") as archive:
        made = _Made(archive)
        for folder, mode in (("tmp", 0o1777), ("root", 0o755), ("etc", 0o755), ("proc", 0o555), ("sys", 0o555)):
            made.folder(folder, mode)
        made.text("etc/passwd", _PASSWD)
        program = (prefix / "bin" / version).resolve()
        made.file(f"usr/local/bin/{version}", program)
        for name in ("python3", "python"):
            made.link(f"usr/local/bin/{name}", version)
        made.file("bin/sh", Path("/bin/sh").resolve())
        library = prefix / "lib" / version
        for place, folders, names in os.walk(library):
            folders[:] = sorted(name for name in folders if name not in _LEFT_OUT and not name.startswith("config-"))
            for name in sorted(names):
                source = Path(place, name)
                if not name.startswith(_LEFT_OUT_MODULES):
                    made.file(f"usr/local/lib/{version}/{source.relative_to(library)}", source)
        modules = [path for path in library.glob("lib-dynload/*.so") if not path.name.startswith(_LEFT_OUT_MODULES)]
        programs = [program, Path("/bin/sh").resolve(), Path(find_uv_bin()), *modules]
        for needed in sorted(_libraries(programs)):
            made.file(needed.lstrip("/"), Path(needed).resolve())


def _libraries(programs: list[Path]) -> set[str]:
    """The shared libraries of programs, as the loader finds them here."""
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    return set(_LIBRARY.findall(said))


def _stripped(source: Path) -> bytes:
    """A program or library without what only a debugger reads, which is most of a Python that was compiled here."""
    if shutil.which("strip") is None:
        return source.read_bytes()
    with tempfile.NamedTemporaryFile() as smaller:
        done = subprocess.run(["strip", "-o", smaller.name, str(source)], capture_output=True, check=False)
        return (Path(smaller.name) if done.returncode == 0 else source).read_bytes()


class _Made:
    """An archive in the making; every file in it belongs to root."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._names: set[str] = set()

    def folder(self, name: str, mode: int) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        self._archive.addfile(entry)

    def file(self, name: str, source: Path) -> None:
        if name in self._names:
            return
        self._names.add(name)
        entry = self._archive.gettarinfo(str(source), name)
        entry.type, entry.linkname = tarfile.REGTYPE, ""
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        content = _stripped(source) if source.stat().st_size > _WORTH_STRIPPING else source.read_bytes()
        entry.size = len(content)
        self._archive.addfile(entry, io.BytesIO(content))

    def text(self, name: str, text: str) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(text), 0o644
        self._archive.addfile(entry, io.BytesIO(text.encode()))

    def link(self, name: str, to: str) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = tarfile.SYMTYPE, to
        self._archive.addfile(entry)
