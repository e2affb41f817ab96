"""Which commit a folder stands at, read from the repository's own files: no process is started."""

import os
from typing import Dict, Optional, Tuple


def describe(folder: str) -> Dict[str, str]:
    """``azureml.git.*`` and ``mlflow.source.git.*`` properties; empty where there is no repository.

    Whether files differ from the commit is not asked: the snapshot holds what ran.
    """
    found = _repository(folder)
    if found is None:
        return {}
    git = found
    branch, commit = _head(git)
    said = {}
    for prefix in ("azureml.git.", "mlflow.source.git."):
        for key, value in (("branch", branch), ("commit", commit), ("repoURL", _origin(git))):
            if value:
                said[prefix + ("repository_uri" if key == "repoURL" and prefix.startswith("azureml") else key)] = value
    return said


def _repository(folder: str) -> Optional[str]:
    while True:
        git = os.path.join(folder, ".git")
        if os.path.isdir(git):
            return git
        if os.path.isfile(git):  # a worktree: the file names its folder
            words = _read(git).split(":", 1)
            return os.path.join(folder, words[1].strip()) if len(words) == 2 else None
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def _head(git: str) -> Tuple[str, str]:
    head = _read(os.path.join(git, "HEAD")).strip()
    if not head.startswith("ref:"):
        return "", head
    reference = head[4:].strip()
    branch = reference[len("refs/heads/") :] if reference.startswith("refs/heads/") else reference
    common = _read(os.path.join(git, "commondir")).strip()
    places = [git] + ([os.path.join(git, common)] if common else [])
    for place in places:
        commit = _read(os.path.join(place, reference)).strip()
        if commit:
            return branch, commit
        for line in _read(os.path.join(place, "packed-refs")).splitlines():
            if line.endswith(" " + reference):
                return branch, line.split(" ", 1)[0]
    return branch, ""


def _origin(git: str) -> str:
    common = _read(os.path.join(git, "commondir")).strip()
    section = ""
    for line in _read(os.path.join(git, common, "config")).splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line
        elif section == '[remote "origin"]' and line.replace(" ", "").startswith("url="):
            return _without_secret(line.split("=", 1)[1].strip())
    return ""


def _without_secret(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    return scheme + mark + rest.rsplit("@", 1)[-1] if mark else url


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as source:
            return source.read()
    except OSError:
        return ""
