"""What a script's run was given as datasets: ``Run.get_context().input_datasets``."""

import os
from typing import Dict, Iterator, Mapping

from runyard.errors import RunEnvironmentException

_PREFIX = "AZUREML_DATAREFERENCE_"


class InputDatasets(Mapping[str, str]):
    """Name of each of the run's inputs to its path on this node.

    Raises:
        RunEnvironmentException: an input that this run does not have; says which it has.
    """

    def __init__(self) -> None:
        self._paths: Dict[str, str] = {
            name[len(_PREFIX) :]: path for name, path in os.environ.items() if name.startswith(_PREFIX)
        }

    def __getitem__(self, name: str) -> str:
        if name not in self._paths:
            raise RunEnvironmentException(
                "This run has no input '{}'. It has: {}. Inputs are paths on the node that runs the script; give one with "
                "arguments=[dataset.as_named_input('{}').as_mount()].".format(
                    name, ", ".join(sorted(self._paths)) or "none", name
                )
            )
        return self._paths[name]

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._paths))

    def __len__(self) -> int:
        return len(self._paths)
