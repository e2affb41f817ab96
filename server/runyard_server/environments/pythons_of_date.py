"""The Python versions that packages of a past day were made for."""

from datetime import date, timedelta

_CAME_OUT = (
    ("3.7", date(2018, 6, 27)),
    ("3.8", date(2019, 10, 14)),
    ("3.9", date(2020, 10, 5)),
    ("3.10", date(2021, 10, 4)),
    ("3.11", date(2022, 10, 24)),
    ("3.12", date(2023, 10, 2)),
    ("3.13", date(2024, 10, 7)),
    ("3.14", date(2025, 10, 7)),
)
_CAUGHT_UP = timedelta(days=180)  # until then many packages have no builds for a new Python
_KEPT = 4  # and by then they have given up the older ones


def pythons_of(as_of: str) -> tuple[str, ...]:
    """The versions that most packages had builds for on the day ``as_of`` ("2019-08-13"), the newest first."""
    day = date.fromisoformat(as_of)
    there = [version for version, came_out in _CAME_OUT if came_out + _CAUGHT_UP <= day]
    return tuple(reversed(there[-_KEPT:])) or (_CAME_OUT[0][0],)


def is_newer(python_version: str, as_of: str) -> bool:
    """Whether that Python ("3.11", "3.11.7") had not come out, or only just, on the day ``as_of``."""
    minor = ".".join(python_version.split(".")[:2])
    came_out = dict(_CAME_OUT).get(minor)
    return came_out is not None and minor != _CAME_OUT[0][0] and came_out + _CAUGHT_UP > date.fromisoformat(as_of)
