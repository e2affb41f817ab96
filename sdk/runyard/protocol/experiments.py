"""Experiments on the wire."""

from dataclasses import dataclass, field
from typing import Dict, List, Optional


@dataclass(frozen=True)
class ExperimentRecord:
    """A named collection of runs."""

    id: str
    name: str
    created_at: float
    archived_at: Optional[float] = None
    tags: Dict[str, str] = field(default_factory=dict)
    changed_at: Optional[float] = None


@dataclass(frozen=True)
class ExperimentChanges:
    """What may change on an experiment; None leaves a field alone."""

    tags: Optional[Dict[str, str]] = None
    remove_tags: Optional[List[str]] = None
    archived: Optional[bool] = None
    name: Optional[str] = None
