"""``runyard run logs``: a run's logs as they stand, or as they grow."""

import codecs
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional

from runyard.cli.output import Output
from runyard.rank_lines import RankLines, in_order, rank_of, title_of

if TYPE_CHECKING:
    from runyard.run import Run


def write(
    out: Output, run: "Run", name: Optional[str], follow: bool, tail: Optional[int], rank: Optional[str] = None
) -> None:
    """Writes one log, or those that a person wants to see, each below its name.

    Args:
        rank: instead of a log's name: that of the rank which prints to it.
    Raises:
        FileNotInRunError: the run has no log of that name; says which it has.
    """
    if rank is not None:
        name = _log_of(run, rank)
    if out.as_json:
        if follow:
            run.wait_for_completion(raise_on_error=False)
        texts = [{"name": each, "text": "".join(_texts(run, each, tail))} for each in _chosen(run, name)]
        out.json({"id": run.id, "logs": texts})
    elif follow:
        _follow(out, run, name, tail)
    else:
        headed = _Headed(out, name is None)
        for each in _chosen(run, name):
            for text in _texts(run, each, tail):
                headed.write(each, text)
        if not headed.name and not run._record()["ended_at"]:
            out.note("Nothing was written yet. -f waits for it.")


class _Headed:
    """Writes texts of several logs, each below its name where it changes; ``merged``: the ranks' as one."""

    def __init__(self, out: Output, titled: bool, merged: bool = False) -> None:
        self._out = out.out
        self._titled = titled
        self._lines = RankLines() if merged else None
        self._ranks = ""  # whose: the title of the last log of one
        self._at_line_start = True
        self.name = ""

    def write(self, name: str, text: str) -> None:
        rank = rank_of(name)
        if self._lines is not None and rank is not None:
            name = title_of(name)
            if name != self._ranks:  # those of another attempt
                self.end()
                self._ranks = name
            text = self._lines.take(rank, text)
            if not text:
                return
        self._write(name, text)

    def end(self) -> None:
        """Writes what has no end yet."""
        rest = self._lines.rest() if self._lines is not None else ""
        if rest:
            self._write(self._ranks, rest)

    def _write(self, name: str, text: str) -> None:
        if name != self.name and self._titled:
            gap = "" if not self.name else "\n" if self._at_line_start else "\n\n"
            self._out.write("{}==> {} <==\n".format(gap, name))
        self.name = name
        self._out.write(text)
        self._at_line_start = text.endswith("\n")


def _follow(out: Output, run: "Run", name: Optional[str], tail: Optional[int]) -> None:
    from runyard import following
    from runyard.run_files import log_pieces

    headed = _Headed(out, name is None, merged=name is None)
    seen: Dict[str, int] = {}
    if tail is not None:
        for each in _chosen(run, None) if name is None else [name]:
            if each in run._log_names():
                decoder: Any = codecs.getincrementaldecoder("utf-8")("replace")
                data = b"".join(log_pieces(run, each))
                for text in _last_lines([decoder.decode(data)], tail):
                    headed.write(each, text)
                seen[each] = len(data) - len(decoder.getstate()[0])  # a character that is half there comes whole
    out.out.flush()
    prefix = name if name is not None else following.LOGS
    for kind, event in following.events(run, logs=True, prefix=prefix, seen=seen):
        if kind == "log" and (event["name"] == name if name is not None else following.is_shown(event["name"])):
            headed.write(event["name"], event["text"])
            out.out.flush()
    headed.end()
    out.out.flush()


def _chosen(run: "Run", name: Optional[str]) -> List[str]:
    from runyard.errors import FileNotInRunError
    from runyard.following import is_shown

    there = run._log_names()
    if name is None:
        return in_order([each for each in there if is_shown(each)])
    if name not in there:
        raise FileNotInRunError(
            "Run {} has no log {!r}. It has: {}.".format(run.id, name, ", ".join(there) or "none yet")
        )
    return [name]


def _log_of(run: "Run", rank: str) -> str:
    """The log of the rank of that name.

    Raises:
        UserErrorException: the run has no such rank; says which it has.
    """
    from runyard.errors import UserErrorException

    logs = {each["name"]: str(each["log"]) for each in run._call("GET", "ranks")}
    if rank not in logs:
        raise UserErrorException(
            "Run {} has no rank {!r}. It has: {}.".format(run.id, rank, ", ".join(logs) or "none, as it is interactive")
        )
    return logs[rank]


def _texts(run: "Run", name: str, tail: Optional[int]) -> Iterator[str]:
    from runyard.run_files import log_pieces

    decoder: Any = codecs.getincrementaldecoder("utf-8")("replace")
    texts = (decoder.decode(piece) for piece in log_pieces(run, name))
    return texts if tail is None else iter(_last_lines(list(texts), tail))


def _last_lines(texts: List[str], count: int) -> List[str]:
    return "".join(texts).splitlines(True)[-count:] if count else []
