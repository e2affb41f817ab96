"""ImageBuildDetails: an environment that is being built before a run needs it: ``Environment.build``."""

import sys
import time
from typing import Any, Dict

from runyard.errors import EnvironmentException
from runyard.protocol.codec import from_json
from runyard.protocol.environments import EnvironmentBuild
from runyard.transport.base import url_path

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0


class ImageBuildDetails:
    """A build that goes on at the server.

    Attributes:
        id: names the build, as long as the server remembers it.
    """

    def __init__(self, workspace: Any, said: Dict[str, Any]) -> None:
        self._workspace = workspace
        self._known = from_json(EnvironmentBuild, said)
        self.id = self._known.id

    @property
    def status(self) -> str:
        """Queued, Running, Succeeded or Failed: as it is now."""
        if not self._has_ended():
            self._look(self._known.size)
        return self._known.status

    def get_log(self) -> str:
        """What the build has said until now."""
        self._look(0)
        return self._known.log

    def wait_for_completion(self, show_output: bool = True, raise_on_error: bool = False) -> "ImageBuildDetails":
        """Waits until the build has ended.

        Args:
            show_output: whether what it says is printed as it comes.
            raise_on_error: whether a build that failed raises; else ``status`` says it, as in Azure.
        Raises:
            EnvironmentException: it failed and ``raise_on_error`` is True; the message is the end of what it said.
        """
        seen, pause_s = 0, _FIRST_PAUSE_S
        while True:
            self._look(seen)
            if show_output and self._known.log:
                sys.stdout.write(self._known.log)
                sys.stdout.flush()
            pause_s = _FIRST_PAUSE_S if self._known.size > seen else min(pause_s * 2, _LONGEST_PAUSE_S)
            seen = self._known.size
            if self._has_ended():
                break
            time.sleep(pause_s)
        if raise_on_error and self._known.status == "Failed":
            raise EnvironmentException("The environment could not be built:\n{}".format(self.get_log()[-4000:].strip()))
        return self

    def _has_ended(self) -> bool:
        return self._known.status in ("Succeeded", "Failed")

    def _look(self, offset: int) -> None:
        path = url_path("environment-builds", self.id)
        said = self._workspace.transport.call("GET", path, query={"offset": offset})
        self._known = from_json(EnvironmentBuild, said)

    def __repr__(self) -> str:
        return "ImageBuildDetails(id='{}', status='{}')".format(self.id, self._known.status)
