"""Going on from an earlier run: ``resume_from``, and the outputs of a run as another one is given them."""

from typing import Any, List

from runyard.data_reference import DataReference
from runyard.datapath import DataPath
from runyard.errors import UserErrorException
from runyard.protocol.runs import RESUMED, RUN_FILES, DataReferenceSpec

OPTION = "--resume-from"


class RunOutputs:
    """What a run left in a folder of its own, ``outputs`` by default: copied to where another run starts.

    Args:
        run_id: the run.
        path: the folder among the run's files.
    """

    def __init__(self, run_id: str, path: str = "outputs") -> None:
        self.run_id = run_id
        self.path = path

    def to_spec(self) -> DataReferenceSpec:
        """What goes over the wire."""
        return DataReferenceSpec(name=RESUMED, datastore=RUN_FILES, path=self.path, mode="download", run=self.run_id)

    def __repr__(self) -> str:
        return "RunOutputs({!r}, {!r})".format(self.run_id, self.path)


def resumed_from(place: Any) -> Any:
    """What ``resume_from`` was given, as something that goes into a run's arguments.

    Raises:
        UserErrorException: it is neither a run, its outputs nor a place on a datastore.
    """
    if isinstance(place, RunOutputs):
        return place
    outputs = getattr(place, "_get_outputs_datapath", None)
    if callable(outputs):
        return outputs()
    try:
        found = DataPath.of(place, "resume_from")
    except UserErrorException:
        raise UserErrorException(
            "resume_from takes the run whose outputs are to be gone on from, or a place on a datastore, (datastore, "
            "'checkpoints'); this is {!r:.100}.".format(place)
        ) from None
    return DataReference(found.datastore, RESUMED, found.path_on_datastore)


def option(place: Any) -> List[Any]:
    """The arguments that tell a script of ``place``; none for None."""
    return [] if place is None else [OPTION, place]
