"""PyTorch without CUDA where no GPU is wanted: a tenth of the size, which pip's registry does not have for Linux on x86-64.

The makers, and mirrors of theirs, keep those builds on an index of their own. Of that nothing but PyTorch is taken: it
has other packages too, in other versions than the registry.
"""

import os

from runyard_server.environments.programs import masked

PROJECTS = ("torch", "torchvision")


def uv_options(place: str) -> list[str]:
    """uv's arguments that let it see the CPU builds beside those of the registry; their versions (``2.5.1+cpu``) win.

    Args:
        place: the address of an index (the simple API's), or a folder of wheels.
    """
    pages = [place] if os.path.isabs(place) else [f"{place.rstrip('/')}/{project}/" for project in PROJECTS]
    return [word for page in pages for word in ("--find-links", page)]


def note(place: str, asked_date: str | None) -> str:
    """What the log says of it; beginning with why not, where a day was asked for."""
    if asked_date:
        return (
            "PyTorch: pip's registry's build, not one for the CPU alone: those have no date, and packages_as_of is "
            f"{asked_date}"
        )
    return f"PyTorch: the build for the CPU alone, if {masked(place)} has it (RUNYARD_PYTORCH_CPU)"
