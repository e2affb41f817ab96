"""``runyard run logs``: a run's logs as they stand, or as they grow."""

import codecs
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional

from runyard.cli.output import Output

if TYPE_CHECKING:
    from runyard.run import Run


def write(out: Output, run: "Run", name: Optional[str], follow: bool, tail: Optional[int]) -> None:
    """Writes one log, or those that a person wants to see, each below its name.

    Raises:
        FileNotInRunError: the run has no log of that name; says which it has.
    """
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
    """Writes texts of several logs, each below its name where it changes."""

    def __init__(self, out: Output, titled: bool) -> None:
        self._out = out.out
        self._titled = titled
        self._at_line_start = True
        self.name = ""

    def write(self, name: str, text: str) -> None:
        if name != self.name and self._titled:
            gap = "" if not self.name else "\n" if self._at_line_start else "\n\n"
            self._out.write("{}==> {} <==\n".format(gap, name))
        self.name = name
        self._out.write(text)
        self._at_line_start = text.endswith("\n")


def _follow(out: Output, run: "Run", name: Optional[str], tail: Optional[int]) -> None:
    from runyard import following
    from runyard.run_files import log_pieces

    headed = _Headed(out, name is None)
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


def _chosen(run: "Run", name: Optional[str]) -> List[str]:
    from runyard.errors import FileNotInRunError
    from runyard.following import is_shown

    there = run._log_names()
    if name is None:
        return [each for each in there if is_shown(each)]
    if name not in there:
        raise FileNotInRunError(
            "Run {} has no log {!r}. It has: {}.".format(run.id, name, ", ".join(there) or "none yet")
        )
    return [name]


def _texts(run: "Run", name: str, tail: Optional[int]) -> Iterator[str]:
    from runyard.run_files import log_pieces

    decoder: Any = codecs.getincrementaldecoder("utf-8")("replace")
    texts = (decoder.decode(piece) for piece in log_pieces(run, name))
    return texts if tail is None else iter(_last_lines(list(texts), tail))


def _last_lines(texts: List[str], count: int) -> List[str]:
    return "".join(texts).splitlines(True)[-count:] if count else []
