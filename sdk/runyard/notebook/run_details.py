"""RunDetails: a run shown in a notebook while it goes on."""

import threading
import time
from typing import TYPE_CHECKING, Any, Dict, Optional

from runyard.errors import RunyardError, ServerUnavailableError, UserErrorException
from runyard.notebook.as_html import sections
from runyard.notebook.as_text import text
from runyard.notebook.images import Images
from runyard.notebook.run_view import RunView, look
from runyard.notebook.screen import screen
from runyard.notices import not_used

if TYPE_CHECKING:
    from runyard.run import Run

_SHARE = 20  # a look takes at most one part in so many of the time
_LONGEST_S = 60.0


class RunDetails:
    """Shows a run: status, stages, curves, the end of its log, child runs.

    What its page draws, pictures, tables and matrices too, is drawn small. In a notebook the display follows the run
    until it ends; elsewhere it is printed once.

    Args:
        run_instance: the run.
    Attributes:
        refresh_s: seconds between two looks at the run; more where a look takes long.
    Raises:
        UserErrorException: no run.
    """

    refresh_s = 2.0

    def __init__(self, run_instance: "Run") -> None:
        from runyard.run import Run

        if not isinstance(run_instance, Run):
            raise UserErrorException(
                "RunDetails shows a run, such as Experiment.submit() gives; this is a {}.".format(
                    type(run_instance).__name__
                )
            )
        self._run = run_instance
        self._over = threading.Event()

    def show(self, render_lib: Any = None, widget_settings: Any = None) -> None:
        """Shows the run and returns at once; a thread of its own keeps the display up to date.

        Args:
            render_lib, widget_settings: accepted for Azure's sake; there is one way to draw.
        Raises:
            RunyardError: the run cannot be looked at.
        """
        not_used(
            "RunDetails.show",
            {"render_lib": render_lib, "widget_settings": widget_settings},
            "a run is drawn in one way, in every notebook.",
        )
        there = screen()
        begun = time.monotonic()
        images = Images() if there.updates else None
        view = look(self._run, time.time(), images)
        there.show(sections(view), text(view))
        if view.is_over or not there.updates:
            return
        self._over.set()  # of an earlier show(): the display that was asked for last is the one that goes on
        self._over = threading.Event()
        follower = threading.Thread(
            target=self._follow,
            args=(view, images, there, self._over, self._pause(time.monotonic() - begun)),
            name="runyard-run-details",
            daemon=True,
        )
        follower.start()

    def get_widget_data(self, widget_settings: Any = None) -> Dict[str, Any]:
        """What the display shows, as it is now, under the keys of Azure's widget."""
        view = look(self._run, time.time())
        return {
            "status": view.status,
            "workbench_run_details_uri": view.address,
            "run_id": view.id,
            "run_properties": {
                "run_id": view.id,
                "status": view.status,
                "experiment_name": view.experiment,
                "created_utc": _utc(view.created_at),
                "start_time_utc": _utc(view.started_at),
                "end_time_utc": _utc(view.ended_at),
                "tags": view.tags,
                "arguments": view.command,
            },
            "run_metrics": [
                {"name": curve.name, "run_id": view.id, "categories": curve.places, "series": [{"data": curve.values}]}
                for curve in view.curves
            ],
            "child_runs": [{"run_id": id_, "status": status, "name": name} for id_, status, name in view.children],
            "run_logs": "\n".join(view.log[1]) if view.log else "",
        }

    def _follow(
        self, view: RunView, images: Optional[Images], there: Any, over: threading.Event, pause_s: float
    ) -> None:
        """Keeps a display up to date until the run has ended or ``over`` is set."""
        while not over.wait(pause_s):
            begun = time.monotonic()
            away = None
            try:
                view = look(self._run, time.time(), images)
            except (ServerUnavailableError, OSError) as problem:
                away = "{} It is asked again.".format(problem)
            except RunyardError as problem:  # deleted, or no longer ours to see: asking again gives the same
                there.show(sections(view, str(problem)), text(view))
                return
            there.show(sections(view, away), text(view))
            if view.is_over and away is None:
                return
            pause_s = min(_LONGEST_S, 2 * pause_s) if away else self._pause(time.monotonic() - begun)

    def _pause(self, took_s: float) -> float:
        """How long to wait after a look that took so long: a run with much to show must not keep its server busy."""
        return min(_LONGEST_S, max(self.refresh_s, _SHARE * took_s))

    def __repr__(self) -> str:
        return "RunDetails({!r})".format(self._run)


def _utc(at: Optional[float]) -> Optional[str]:
    from runyard.run_details import iso_time

    return None if at is None else iso_time(at)
