"""The lifecycle's folder is the state diagram: a file for every status that is not an end."""

import re
from pathlib import Path

import runyard_server.lifecycle
from runyard.protocol.status import RunStatus

NOT_STAGES = {"__init__", "loop", "nodes", "ports"}
ON_THE_CLIENT = {RunStatus.NOT_STARTED}  # before the server knows of it


def test_there_is_a_file_for_every_status_that_is_not_an_end() -> None:
    folder = Path(runyard_server.lifecycle.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - NOT_STAGES
    waiting = {status for status in RunStatus if not status.is_terminal} - ON_THE_CLIENT
    assert files == {re.sub(r"(?<!^)(?=[A-Z])", "_", status.value).lower() for status in waiting}
