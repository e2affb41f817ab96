"""The ways in which people write where a dataset's files are."""

from typing import Any, List

from runyard.abstract_dataset import Source
from runyard.datapath import DataPath
from runyard.errors import UserErrorException

_ADDRESSES = ("http://", "https://", "ftp://")


def sources(path: Any) -> List[Source]:
    """The places that ``(datastore, 'path')``, a DataPath, an address, or a list of those mean.

    Raises:
        UserErrorException: something else, or an empty list.
    """
    if isinstance(path, list) and not (
        len(path) == 2 and not isinstance(path[0], (str, tuple, DataPath)) and isinstance(path[1], str)
    ):
        if not path:
            raise UserErrorException("path is an empty list: name at least one place, such as (datastore, 'mnist').")
        return [_source(place) for place in path]
    return [_source(path)]


def _source(place: Any) -> Source:
    if isinstance(place, str) and place.lower().startswith(_ADDRESSES):
        return place
    return DataPath.of(place, "path")
