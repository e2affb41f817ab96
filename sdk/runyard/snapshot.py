"""Snapshots: which files of a source directory travel with a run."""

import os
import stat as stat_
import sys
from typing import Any, Callable, Dict, List, Optional, Tuple

from runyard.digests import DigestCache, LocalFile
from runyard.errors import SnapshotException, UserErrorException
from runyard.ignore import IgnoreRules
from runyard.progress import size_text

# Left out whatever an ignore file says: neither is needed to run, and both change by themselves.
ALWAYS_LEFT_OUT = (".git", "__pycache__")
VIRTUAL_ENVIRONMENT = "pyvenv.cfg"  # a folder that holds it is one: it works on this machine alone
IGNORE_FILES = (".amlignore", ".gitignore")

LARGE_BYTES = 100 * 10**6
LARGE_FILES = 2000


def scan(directory: str, script: Optional[str] = None, say: Optional[Callable[[str], Any]] = None) -> List[LocalFile]:
    """The files below ``directory`` that a snapshot of it holds, with their digests, by path.

    ``.amlignore`` decides what is left out if there is one, else ``.gitignore``; only the one in
    ``directory`` itself counts. ``.git``, ``__pycache__`` and virtual environments are always left
    out: a run has an environment of its own. Links to files
    and folders inside the tree are followed; links that lead nowhere and what is neither file nor
    folder are left out.

    Args:
        script: the entry script, relative to ``directory``, that must be among the files.
        say: called with a text for the person where the tree is large; default prints to stderr.
    Raises:
        UserErrorException: no such directory or script.
        SnapshotException: a link that leads out of the tree, a file that cannot be read or sent,
            or the script is left out.
    """
    found = _Walk(_checked(directory)).files()
    if script is not None:
        _check_script(directory, script, found)
    notice = large_notice(directory, [(name, stat.st_size) for name, _, stat in found])
    if notice:
        (say or _print)(notice)
    cache = DigestCache(directory)
    files = []
    for name, local, stat in found:
        try:
            digest = cache.digest(local, stat)
        except OSError as unread:
            raise SnapshotException(
                "{} cannot be read ({}). Make it readable, or leave it out by a line in {}.".format(
                    local, unread.strerror, IGNORE_FILES[0]
                )
            ) from unread
        files.append(LocalFile(name, local, stat.st_size, digest, bool(stat.st_mode & 0o100)))
    cache.save()
    return files


def ignore_file(directory: str) -> Optional[str]:
    """The ignore file that counts for ``directory``: the path of its .amlignore, else of its .gitignore."""
    for name in IGNORE_FILES:
        path = os.path.join(directory, name)
        if os.path.isfile(path):
            return path
    return None


def large_notice(directory: str, sizes: List[Tuple[str, int]]) -> Optional[str]:
    """What to tell the person of a large tree: its ten largest entries and how to leave them out.

    Args:
        sizes: path and size in bytes of every file.
    """
    total = sum(size for _, size in sizes)
    if total <= LARGE_BYTES and len(sizes) <= LARGE_FILES:
        return None
    entries: Dict[str, List[int]] = {}
    for name, size in sizes:
        top, slash, _ = name.partition("/")
        entry = entries.setdefault(top + slash, [0, 0])
        entry[0] += size
        entry[1] += 1
    largest = sorted(entries.items(), key=lambda item: (-item[1][0], -item[1][1], item[0]))[:10]
    lines = [
        "The snapshot of {} has {} in {} files. Its largest entries:".format(directory, size_text(total), len(sizes))
    ]
    for name, (size, count) in largest:
        lines.append("  {:>9}  {}{}".format(size_text(size), name, " ({} files)".format(count) if count > 1 else ""))
    lines.append(
        "Only what the store lacks is sent. To leave entries out, name them in {}.".format(
            os.path.basename(ignore_file(directory) or IGNORE_FILES[0])
        )
    )
    return "\n".join(lines)


class _Walk:
    """One walk over a source directory: collects (path, local path, stat)."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._real_root = os.path.realpath(root)
        self._rules = _rules(root)
        self._found: List[Tuple[str, str, os.stat_result]] = []

    def files(self) -> List[Tuple[str, str, os.stat_result]]:
        self._folder(self._root, "", (self._real_root,))
        self._found.sort(key=lambda item: item[0])
        return self._found

    def _folder(self, local: str, prefix: str, above: Tuple[str, ...]) -> None:
        try:
            with os.scandir(local) as listing:
                entries = list(listing)
        except OSError as unread:
            raise SnapshotException(
                "The folder {} cannot be read ({}). Make it readable, or leave it out by a line in {}.".format(
                    local, unread.strerror, IGNORE_FILES[0]
                )
            ) from unread
        for entry in entries:
            if entry.name in ALWAYS_LEFT_OUT:
                continue
            path = prefix + entry.name
            # A link to a folder is a file to git's rules, but a folder to who writes "data/".
            is_folder = entry.is_dir()
            if self._rules.ignores(path, is_folder):
                continue
            if entry.is_symlink() and not self._is_followed(entry.path, path, above):
                continue
            if is_folder and not os.path.exists(os.path.join(entry.path, VIRTUAL_ENVIRONMENT)):
                self._folder(entry.path, path + "/", above + (os.path.realpath(entry.path),))
            elif not is_folder:
                self._file(entry, path)

    def _file(self, entry: "os.DirEntry[str]", path: str) -> None:
        stat = entry.stat()
        if not stat_.S_ISREG(stat.st_mode):
            return
        try:
            path.encode("utf-8")
        except UnicodeEncodeError:
            raise SnapshotException(
                "The name of {!r} is not valid UTF-8, so it cannot be sent. Rename the file, or leave it out.".format(
                    path
                )
            ) from None
        self._found.append((path, entry.path, stat))

    def _is_followed(self, local: str, path: str, above: Tuple[str, ...]) -> bool:
        real = os.path.realpath(local)
        if not os.path.exists(real):
            return False
        if real != self._real_root and not real.startswith(self._real_root + os.sep):
            raise SnapshotException(
                "'{}' is a link to {}, outside the source directory. Copy what the run needs into the directory, "
                "put data on a datastore, or leave the link out by a line in {}.".format(path, real, IGNORE_FILES[0])
            )
        if real in above:
            raise SnapshotException(
                "'{}' is a link to {}, a folder that it lies in, so following it would never end. "
                "Leave it out by a line in {}.".format(path, real, IGNORE_FILES[0])
            )
        return True


def _rules(directory: str) -> IgnoreRules:
    path = ignore_file(directory)
    if path is None:
        return IgnoreRules("")
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as source:
        return IgnoreRules(source.read())


def _checked(directory: str) -> str:
    if not os.path.isdir(directory):
        what = "is a file" if os.path.exists(directory) else "does not exist"
        raise UserErrorException(
            "The source directory {!r} {} (looked for at {}). Give the folder that holds the entry script.".format(
                directory, what, os.path.abspath(directory)
            )
        )
    return directory


def _check_script(directory: str, script: str, found: List[Tuple[str, str, os.stat_result]]) -> None:
    wanted = os.path.normpath(script).replace(os.sep, "/")
    names = [name for name, _, _ in found]
    if wanted in names:
        return
    if os.path.isabs(script) or wanted.startswith("../"):
        problem = "lies outside the source directory"
    elif os.path.isfile(os.path.join(directory, script)):
        problem = "is left out by {}".format(os.path.basename(ignore_file(directory) or "a rule"))
    else:
        problem = "is not there"
    scripts = sorted((name for name in names if name.endswith(".py")), key=lambda name: (name.count("/"), name))
    raise UserErrorException(
        "The entry script '{}' {}. The source directory {} has: {}. Give its path relative to that directory.".format(
            script, problem, os.path.abspath(directory), ", ".join(scripts[:10]) or "no Python file"
        )
    )


def _print(text: str) -> None:
    print(text, file=sys.stderr)
