"""The date as of which an environment's packages are taken: how it is written, and where it may come from."""

import os
import re
from datetime import datetime
from typing import Any, Optional

from runyard.errors import EnvironmentException

VARIABLE = "RUNYARD_PACKAGES_AS_OF"
OLDEST = "2018-06-27"  # Python 3.7, the oldest that runs here, came out


def checked(value: Any, where: str = "packages_as_of") -> str:
    """``value``, a text or a date, as "2019-08-13".

    Args:
        where: what it was given as, for the message.
    Raises:
        EnvironmentException: no such day, or one before there was a Python that runs here.
    """
    text = str(value).strip()
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise ValueError
        datetime.strptime(text, "%Y-%m-%d")
    except ValueError:
        raise EnvironmentException(
            "{} is a day such as '2019-08-13' (year-month-day); this is {!r}.".format(where, value)
        ) from None
    if text < OLDEST:
        raise EnvironmentException(
            "{} is {}, but no package of before {} was made for Python 3.7, the oldest that runs here. Give that day "
            "or a later one.".format(where, text, OLDEST)
        )
    return text


def from_variable() -> Optional[str]:
    """What the variable says, None where it says nothing.

    Raises:
        EnvironmentException: see ``checked``.
    """
    value = os.environ.get(VARIABLE)
    return checked(value, VARIABLE) if value else None
