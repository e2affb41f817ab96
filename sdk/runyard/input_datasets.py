"""What a script's run was given as datasets: ``Run.get_context().input_datasets``."""

import os
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional

from runyard.errors import RunEnvironmentException

_PREFIX = "AZUREML_DATAREFERENCE_"


class InputDatasets(Mapping[str, Any]):
    """Name of each of the run's inputs to its path on this node, or to the dataset itself where that is a table.

    Args:
        uses: gives the datasets of the run's spec, as JSON; asked only for what is no path.
        find: gives the dataset of an id.
    Raises:
        RunEnvironmentException: an input that this run does not have; says which it has.
    """

    def __init__(
        self,
        uses: Optional[Callable[[], List[Dict[str, Any]]]] = None,
        find: Optional[Callable[[str], Any]] = None,
    ) -> None:
        self._paths: Dict[str, str] = {
            name[len(_PREFIX) :]: path for name, path in os.environ.items() if name.startswith(_PREFIX)
        }
        self._uses = uses
        self._find = find
        self._known: Optional[Dict[str, str]] = None

    def __getitem__(self, name: str) -> Any:
        if name in self._paths:
            return self._paths[name]
        tables = self._tables()
        if name in tables and self._find is not None:
            return self._find(tables[name])
        raise RunEnvironmentException(
            "This run has no input '{}'. It has: {}. Inputs of files are paths on the node that runs the script; give one "
            "with arguments=[dataset.as_named_input('{}').as_mount()].".format(name, ", ".join(self) or "none", name)
        )

    def __contains__(self, name: object) -> bool:
        return name in self._paths or name in self._tables()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({**self._paths, **self._tables()}))

    def __len__(self) -> int:
        return len({**self._paths, **self._tables()})

    def _tables(self) -> Dict[str, str]:
        """Name to id of what comes without a path."""
        if self._known is None:
            found = self._uses() if self._uses is not None else []
            self._known = {use["input_name"]: use["id"] for use in found if use["mechanism"] == "Direct"}
        return self._known
