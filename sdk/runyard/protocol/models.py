"""Registered models on the wire."""

from dataclasses import dataclass, field
from typing import Dict, List, Optional

from runyard.protocol.files import FileEntry

FRAMEWORKS = ("TensorFlow", "ScikitLearn", "Onnx", "PyTorch", "Keras", "Custom", "Multi")


@dataclass(frozen=True)
class ModelSpec:
    """A model to register: from a run's files (``run_id`` and ``model_path``) or from sent ``files``."""

    name: str
    run_id: Optional[str] = None
    model_path: Optional[str] = None
    files: List[FileEntry] = field(default_factory=list)
    root: str = ""  # name of the file or folder that was registered; the one entry of the version's folder
    tags: Dict[str, str] = field(default_factory=dict)
    properties: Dict[str, str] = field(default_factory=dict)
    description: Optional[str] = None
    framework: Optional[str] = None
    framework_version: Optional[str] = None
    datasets: List[List[str]] = field(default_factory=list)  # pairs of what a kept dataset was for and its id
    request_id: Optional[str] = None  # made by the client: the same one sent again gives the same version


@dataclass(frozen=True)
class ModelRecord:
    """One version of a model. ``id`` is ``name:version``; ``files`` is empty in lists."""

    id: str
    name: str
    version: int
    created_at: float
    root: str = ""
    files: List[FileEntry] = field(default_factory=list)
    run_id: Optional[str] = None
    experiment: Optional[str] = None
    tags: Dict[str, str] = field(default_factory=dict)
    properties: Dict[str, str] = field(default_factory=dict)
    description: Optional[str] = None
    framework: Optional[str] = None
    framework_version: Optional[str] = None
    datasets: List[List[str]] = field(default_factory=list)
    changed_at: Optional[float] = None


@dataclass(frozen=True)
class ModelChanges:
    """What may change on a registered model; properties and datasets are only added to."""

    tags: Optional[Dict[str, str]] = None
    remove_tags: Optional[List[str]] = None
    properties: Optional[Dict[str, str]] = None
    description: Optional[str] = None
    datasets: Optional[List[List[str]]] = None
