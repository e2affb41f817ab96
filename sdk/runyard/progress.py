"""A progress bar for long transfers: on standard error, and only when a terminal is there."""

import sys
import time
from typing import Any, Callable, Optional, TextIO

# Told what just moved: bytes, and files that were finished by them.
Progress = Callable[[int, int], None]

_WIDTH = 24
_REDRAW_S = 0.1


def size_text(size_bytes: float) -> str:
    """A size as a person reads it: "3.2 MB"."""
    units = ["B", "KB", "MB", "GB", "TB"]
    while size_bytes >= 1000 and len(units) > 1:
        size_bytes /= 1000.0
        del units[0]
    return "{:.{}f} {}".format(size_bytes, 0 if units[0] == "B" else 1, units[0])


def silent(_moved_bytes: int, _files: int) -> None:
    """A progress that nobody sees."""


class ProgressBar:
    """Draws what has moved of a known total; call it with (bytes, files) as they move.

    Silent unless ``shown`` and ``stream`` (standard error by default) is a terminal. Use it as a context manager.
    """

    def __init__(
        self,
        label: str,
        total_bytes: int,
        total_files: int,
        stream: Optional[TextIO] = None,
        shown: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._label, self._total_bytes, self._total_files = label, total_bytes, total_files
        self._clock = clock
        self._started = clock()
        self._drawn_at = float("-inf")
        self._bytes = self._files = 0
        self._is_shown = shown and bool(getattr(self._stream, "isatty", lambda: False)())

    def __call__(self, moved_bytes: int, files: int) -> None:
        self._bytes += moved_bytes
        self._files += files
        now = self._clock()
        if self._is_shown and now - self._drawn_at >= _REDRAW_S:
            self._drawn_at = now
            self._draw(now)

    def _draw(self, now: float) -> None:
        if self._total_bytes:
            part = self._bytes / float(self._total_bytes)
        else:
            part = self._files / float(self._total_files or 1)
        filled = int(_WIDTH * min(part, 1.0))
        rate = self._bytes / max(now - self._started, 1e-6)
        self._stream.write(
            "\r{} [{}{}] {}/{} files, {} of {}, {}/s \x1b[K".format(
                self._label,
                "#" * filled,
                "." * (_WIDTH - filled),
                self._files,
                self._total_files,
                size_text(self._bytes),
                size_text(self._total_bytes),
                size_text(rate),
            )
        )
        self._stream.flush()

    def close(self) -> None:
        """Draws the last state and ends the line."""
        if self._is_shown and self._bytes + self._files:
            self._draw(self._clock())
            self._stream.write("\n")
            self._stream.flush()

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
