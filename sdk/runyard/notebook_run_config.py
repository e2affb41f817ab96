"""NotebookRunConfig: a notebook as what is run, as Azure's preview for it was written: a ScriptRunConfig by other words."""

import os
from typing import Any, List, Mapping, Optional

from runyard.errors import UserErrorException
from runyard.notebook_parameters import SUFFIX, is_notebook, parameters
from runyard.notices import not_used, unless
from runyard.runconfig import RunConfiguration
from runyard.script_run_config import ScriptRunConfig


class AzureMLNotebookHandler:
    """How Azure ran a notebook. Here there is one way: what cells print is the run's log, as it comes.

    Args:
        history, progress_bar, log_output: accepted.
        timeout: of a cell, in seconds; accepted: what is limited is the run, by ``max_run_duration_seconds``.
    """

    def __init__(
        self,
        history: bool = True,
        timeout: Optional[int] = None,
        progress_bar: bool = True,
        log_output: bool = True,
        **azure: Any,
    ) -> None:
        asked = dict(azure, timeout=timeout, history=unless(True, history), log_output=unless(True, log_output))
        not_used(
            "AzureMLNotebookHandler",
            asked,
            "what cells print is logged and the notebook is kept; run_config.max_run_duration_seconds limits the run.",
        )


class NotebookRunConfig(ScriptRunConfig):
    """A notebook and how to run it: see docs/notebooks.md.

    Args:
        source_directory: directory that holds the notebook; sent as a whole.
        notebook: its path in there.
        output_notebook: where it is kept with its outputs: ``outputs/<name>.output.ipynb`` or nothing.
        parameters: values for the notebook's parameters by name: text, numbers, True, False and None.
        handler: an AzureMLNotebookHandler; accepted.
        run_config: a RunConfiguration: where it runs, and in what.
    Raises:
        UserErrorException: no notebook, a parameter that cannot be handed over as it is, or another place of the output.
    """

    def __init__(
        self,
        source_directory: str,
        notebook: str,
        output_notebook: Optional[str] = None,
        parameters: Optional[Mapping[str, Any]] = None,
        handler: Optional[AzureMLNotebookHandler] = None,
        run_config: Optional[RunConfiguration] = None,
    ) -> None:
        if not is_notebook(notebook):
            raise UserErrorException(
                "notebook is the path of a file such as 'train.ipynb'; this is {!r}.".format(notebook)
            )
        kept = "outputs/{}.output{}".format(os.path.basename(notebook)[: -len(SUFFIX)], SUFFIX)
        if output_notebook not in (None, kept, os.path.basename(kept)):
            raise UserErrorException(
                "The notebook is kept with its outputs as {}; output_notebook is {!r}. Leave it out, and fetch the file "
                "with run.download_file({!r}, path).".format(kept, output_notebook, kept)
            )
        super().__init__(source_directory, notebook, _arguments(parameters or {}), run_config)


def _arguments(given: Mapping[str, Any]) -> List[str]:
    """The parameters as a notebook's arguments."""
    words: List[str] = []
    for name, value in given.items():
        one = ["-p", str(name), str(value)]
        found = parameters(one)
        if found != {name: value} or type(found[name]) is not type(value):
            raise UserErrorException(
                "The parameter {} cannot be handed to the notebook as {!r}: text that does not read as a number, numbers, "
                "True, False and None can. Write the rest into a file of the source directory.".format(name, value)
            )
        words += one
    return words
