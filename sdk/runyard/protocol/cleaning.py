"""A clean-up of the object store, as it is asked for and as it went."""

from dataclasses import dataclass

GRACE_S = 24 * 3600.0  # what came later than this ago may be on its way to a run


@dataclass(frozen=True)
class CleaningRequest:
    """What is younger than ``grace_s`` stays; a dry run removes nothing."""

    grace_s: float = GRACE_S
    dry_run: bool = False


@dataclass(frozen=True)
class Cleaning:
    """What went, or would go; what something needs; and what nothing needs so far, but is too young to go."""

    dry_run: bool
    snapshots: int
    objects: int
    size_bytes: int
    needed_objects: int
    needed_bytes: int
    young_objects: int
    young_bytes: int
