"""A run outside any job: it prints what it would have recorded, so that a script can be tried alone."""

import uuid
from typing import Any, Dict, List, Optional

from runyard.metric_logging import MetricLogging


class OfflineRun(MetricLogging):
    """What ``Run.get_context()`` gives where there is no run. Nothing is kept."""

    def __init__(self) -> None:
        self.id = "OfflineRun_" + str(uuid.uuid4())
        self.number = 0
        self.type = "offline"
        self.parent = None
        self._tags: Dict[str, str] = {}
        self._properties: Dict[str, str] = {}

    @property
    def status(self) -> str:
        return "Running"

    def get_status(self) -> str:
        return "Running"

    @property
    def experiment(self) -> Any:
        from runyard.errors import RunEnvironmentException

        raise RunEnvironmentException(
            "An offline run has no experiment and no workspace. Submit the script, or open Workspace.from_config()."
        )

    @property
    def input_datasets(self) -> Any:
        from runyard.input_datasets import InputDatasets

        return InputDatasets()

    @property
    def tags(self) -> Dict[str, str]:
        return dict(self._tags)

    @property
    def properties(self) -> Dict[str, str]:
        return dict(self._properties)

    def get_tags(self) -> Dict[str, str]:
        return dict(self._tags)

    def get_properties(self) -> Dict[str, str]:
        return dict(self._properties)

    def get_metrics(self, *_: Any, **__: Any) -> Dict[str, Any]:
        return {}

    def get_file_names(self) -> List[str]:
        return []

    def tag(self, key: str, value: Optional[str] = None) -> None:
        self._tags[key] = value or ""
        print("Attempted to tag run: {}={}".format(key, value))

    def set_tags(self, tags: Dict[str, Any]) -> None:
        for key, value in tags.items():
            self.tag(key, value)

    def remove_tags(self, tags: List[str]) -> None:
        for key in tags:
            self._tags.pop(key, None)

    def add_properties(self, properties: Dict[str, Any]) -> None:
        self._properties.update({str(key): str(value) for key, value in properties.items()})
        print("Attempted to add properties: {}".format(properties))

    def upload_file(self, name: str, path_or_stream: Any, datastore_name: Optional[str] = None) -> None:
        print("Attempted to upload file {} as {}".format(path_or_stream, name))

    def upload_files(self, names: Any, paths: Any, *_: Any, **__: Any) -> None:
        for name, path in zip(names, paths):
            self.upload_file(name, path)

    def upload_folder(self, name: str, path: str, datastore_name: Optional[str] = None) -> None:
        print("Attempted to upload folder {} as {}".format(path, name))

    def child_run(self, name: Optional[str] = None, run_id: Optional[str] = None, outputs: Any = None) -> "OfflineRun":
        return OfflineRun()

    def create_children(
        self, count: Optional[int] = None, tag_key: Any = None, tag_values: Any = None
    ) -> List["OfflineRun"]:
        return [OfflineRun() for _ in range(len(tag_values) if tag_values is not None else count or 0)]

    def register_model(self, model_name: str, *_: Any, **__: Any) -> None:
        print("Attempted to register model {}".format(model_name))

    def start(self) -> None:
        """Nothing to start."""

    def complete(self, _set_status: bool = True) -> None:
        print("Attempted to complete run")

    def fail(self, error_details: Any = None, error_code: Any = None, _set_status: bool = True) -> None:
        print("Attempted to fail run: {}".format(error_details))

    def cancel(self) -> None:
        print("Attempted to cancel run")

    def flush(self, timeout_seconds: float = 300) -> None:
        """Nothing waits to be delivered."""

    def __enter__(self) -> "OfflineRun":
        return self

    def __exit__(self, *_: Any) -> None:
        self.complete()
