"""Pictures that a run logged, as addresses that carry them: a saved notebook has them, whoever reads it."""

import base64
from typing import TYPE_CHECKING, Dict, List, Sequence

from runyard.errors import FileNotInRunError
from runyard.protocol.exhibits import Exhibit, Picture
from runyard.protocol.pictures import picture_type

if TYPE_CHECKING:
    from runyard.run import Run

MOST_OF_A_NAME = 3
LARGEST_BYTES = 256 << 10
MOST_BYTES = 1 << 20  # of all in one view: each is written into the notebook's file


class Images:
    """Those of one run. A file of a run does not change, so each is fetched once, however often one looks."""

    def __init__(self) -> None:
        self._known: Dict[str, str] = {}

    def of(self, run: "Run", exhibits: Sequence[Exhibit]) -> Dict[str, str]:
        """Address by path of those that are small enough and that browsers draw; the newest of each name."""
        known: Dict[str, str] = {}
        room = MOST_BYTES
        for exhibit in exhibits:
            for picture in newest(exhibit):
                if picture.path and picture.size_bytes <= min(LARGEST_BYTES, room):
                    address = self._known.get(picture.path)
                    known[picture.path] = _fetched(run, picture.path) if address is None else address
                    room -= picture.size_bytes
        self._known = known
        return {path: address for path, address in known.items() if address}


def newest(exhibit: Exhibit) -> List[Picture]:
    """Those pictures of a name that a notebook shows, in their order."""
    return exhibit.pictures[-MOST_OF_A_NAME:]


def _fetched(run: "Run", path: str) -> str:
    try:
        content = run._read_file(path)
    except FileNotInRunError:  # removed since it was listed
        return ""
    kind = picture_type(content)
    return "data:{};base64,{}".format(kind, base64.b64encode(content).decode("ascii")) if kind else ""
