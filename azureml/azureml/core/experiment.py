"""Experiment, with Azure's default folder of an interactive run."""

import os
from typing import Any, Dict, Optional

from runyard import experiment
from runyard.experiment import ViewType
from runyard.run import Run

__all__ = ["Experiment", "ViewType"]


class Experiment(experiment.Experiment):
    """``runyard.Experiment``; an interactive run has the folder ``./outputs``, as in Azure."""

    def start_logging(
        self,
        outputs: Optional[str] = "outputs",
        snapshot_directory: Optional[str] = ".",
        display_name: Optional[str] = None,
        tags: Optional[Dict[str, str]] = None,
        **azure: Any,
    ) -> Run:
        """As ``runyard.Experiment.start_logging``.

        Args:
            outputs: a folder that is made if need be and uploaded when the run ends; None or False for none.
        """
        if outputs:
            os.makedirs(outputs, exist_ok=True)
        return super().start_logging(outputs or None, snapshot_directory, display_name, tags, **azure)
