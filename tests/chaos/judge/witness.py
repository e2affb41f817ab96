"""What a script under test writes, and its own journal of it outside of the run: the judge's evidence.

Every line, point and file is numbered and follows from its number, so that one that is lost, doubled, moved or changed
shows. The journal says what was begun and what was done, each entry one append to a file: whatever kills the
script, the journal of what it did stays.
"""

import hashlib
import json
import os
import sys
import time


def line(rank, number):
    """The numbered line of a rank, with its end."""
    digest = hashlib.sha256("line {} {}".format(rank, number).encode("ascii")).hexdigest()[:16]
    return "{} {} {} Zürich\n".format(rank, number, digest)


def point(name, number):
    """The numbered value of a metric: a float that no rounding leaves as it is."""
    return int(hashlib.sha256("point {} {}".format(name, number).encode("utf-8")).hexdigest()[:12], 16) / 7.0


def content(path, size):
    """The bytes of a file, ``size`` of them, in blocks."""
    block = hashlib.sha256(path.encode("utf-8")).digest() * 2048  # 64 KiB
    for start in range(0, size, len(block)):
        yield block[: size - start]


class Witness:
    """Writes lines, points and files, and journals each.

    Args:
        folder: the witness's folder, where ``journal-<rank>`` is written and gates lie.
        run: the run to log to; by default that of the job.
    """

    def __init__(self, folder, run=None):
        from runyard import Run

        self.run = Run.get_context() if run is None else run
        self.rank = int(os.environ.get("RUNYARD_RUN_RANK", "0"))
        self._folder = folder
        self._journal = os.open(
            os.path.join(folder, "journal-{}".format(self.rank)), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
        )
        self._lines = 0
        self._points = {}

    def lines(self, count, each=True):
        """Prints the next ``count`` lines; journals ``each`` of them, or else all as one entry."""
        for first, last in _spans(self._lines, count, each):
            self._note("begin", "lines", [first, last])
            for number in range(first, last):
                sys.stdout.write(line(self.rank, number))
            self._note("end", "lines", [first, last])
        self._lines += count
        sys.stdout.flush()

    def points(self, count, name="points", each=True):
        """Logs the next ``count`` points of the metric ``<name>-<rank>``."""
        metric = "{}-{}".format(name, self.rank)
        known = self._points.get(metric, 0)
        for first, last in _spans(known, count, each):
            self._note("begin", metric, [first, last])
            for number in range(first, last):
                self.run.log(metric, point(metric, number))
            self._note("end", metric, [first, last])
        self._points[metric] = known + count

    def file(self, path, size=1000):
        """Writes the file of that path below the working directory."""
        if os.path.dirname(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        self._note("begin", "file", [path, size])
        with open(path, "wb") as target:
            for block in content(path, size):
                target.write(block)
        self._note("end", "file", [path, size])

    def wait(self, gate):
        """Stops at a gate until it is opened from outside; at once where it is open already."""
        path = os.path.join(self._folder, "gate-{}-{}".format(gate, self.rank))
        try:
            os.mkfifo(path)
        except FileExistsError:
            pass
        with open(path, "rb") as opened:  # blocks until somebody outside opens it for writing
            opened.read()

    def tell(self, what):
        """Notes something that is no part of the history, such as the pid of a daemon."""
        self._note("told", what, time.time())

    def _note(self, *entry):
        os.write(self._journal, (json.dumps(entry) + "\n").encode("utf-8"))


def _spans(start, count, each):
    if each:
        return [(number, number + 1) for number in range(start, start + count)]
    return [(start, start + count)]
