"""Generic resources in Slurm's notation (``gpu:a100:4``): what a node has, and what a job asks for."""

import re

_COUNT = re.compile(r"[0-9]{1,9}")


def gpus_of(gres_text: str | None) -> int:
    """GPUs of each node, as a target's ``gres`` tells; 0 where it names none."""
    return sum(count for _, count in _gpu_entries(gres_text))


def job_gres(gres_text: str | None, gpus: int) -> str:
    """What a run's job asks for: the target's gres, with as many GPUs of its kind as the run wants."""
    others = [entry for entry in _entries(gres_text) if not _is_gpu(entry)]
    if gpus > 0:
        kind = next((kind for kind, _ in _gpu_entries(gres_text) if kind), "")
        others.insert(0, f"gpu:{kind}:{gpus}" if kind else f"gpu:{gpus}")
    return ",".join(others)


def node_gpus(gres_text: str, kind: str) -> int:
    """GPUs of a node, by what sinfo prints of it: of one kind, or ("") all."""
    return sum(count for name, count in _gpu_entries(gres_text) if kind in ("", name))


def gpu_kind(gres_text: str | None) -> str:
    """ "a100" for "gpu:a100:4"; "" where any will do."""
    return next((kind for kind, _ in _gpu_entries(gres_text)), "")


def _entries(text: str | None) -> list[str]:
    return [entry for entry in re.split(r",(?![^()]*\))", text or "") if entry]


def _is_gpu(entry: str) -> bool:
    return entry.split(":")[0] == "gpu"


def _gpu_entries(text: str | None) -> list[tuple[str, int]]:
    """Kind and number of each entry such as ``gpu``, ``gpu:2``, ``gpu:a100:2`` and ``gpu:a100:2(S:0-1)``."""
    found = []
    for entry in filter(_is_gpu, _entries(text)):
        words = re.sub(r"\(.*\)", "", entry).split(":")[1:]
        number = int(words.pop()) if words and _COUNT.fullmatch(words[-1]) else 1
        found.append((words[0] if words else "", number))
    return found
