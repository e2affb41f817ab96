"""The arguments of a script as names and values: what ``--lr 0.1 --epochs=3 -v`` says."""

import math
import re
from collections.abc import Mapping, Sequence

_OPTION = re.compile(r"-{1,2}([A-Za-z_][\w.-]*)(?:=(.*))?", re.DOTALL)
_HYDRA = re.compile(r"\+{0,2}([A-Za-z_][\w.]*)=(.*)", re.DOTALL)
GIVEN = "true"  # value of an option that stands alone
# MLflow's clients log a run's parameters as these properties; see its routes.
PARAMETER = "mlflow.param."


def of_run(arguments: Sequence[str], properties: Mapping[str, str]) -> dict[str, str]:
    """What a run was told: the arguments of its script, and the parameters that MLflow's clients logged."""
    logged = {key.removeprefix(PARAMETER): value for key, value in properties.items() if key.startswith(PARAMETER)}
    return {**named(arguments), **logged}


def named(arguments: Sequence[str]) -> dict[str, str]:
    """Value by name, without dashes. What has no name is left out; of two with the same name the last one counts."""
    found: dict[str, str] = {}
    place = 0
    while place < len(arguments):
        said = str(arguments[place])
        place += 1
        option = _OPTION.fullmatch(said)
        if option is None:
            pair = _HYDRA.fullmatch(said)
            if pair is not None:
                found[pair[1]] = pair[2]
            continue
        value = option[2]
        if value is None:
            following = str(arguments[place]) if place < len(arguments) else None
            if following is None or _OPTION.fullmatch(following):
                value = GIVEN
            else:
                value, place = following, place + 1
        found[option[1]] = value
    return found


def number(text: str) -> float | None:
    """The number that a text is, if it is a finite one."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None
