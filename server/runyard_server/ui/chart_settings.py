"""How the charts of a page are looked at: what stands in the page's address, so that every view is a link."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import QueryParams

from runyard_server.domain.metric_curves import STEP
from runyard_server.services.curves import AXES

MOST_SMOOTHING = 0.99


@dataclass(frozen=True)
class ChartSettings:
    """What is chosen. What an address says that is no choice is passed over: an old link still opens.

    Attributes:
        axis: one of AXES.
        smooth: the weight of what came before, from 0 to 0.99.
        log_x, log_y: whether an axis is logarithmic.
        zooms: by metric, from where to where its chart is looked at.
    """

    axis: str = STEP
    smooth: float = 0.0
    log_x: bool = False
    log_y: bool = False
    zooms: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def query(self) -> list[tuple[str, str]]:
        """The same as parameters of an address; nothing for what is as usual."""
        said = [("x", self.axis)] if self.axis != STEP else []
        if self.smooth:
            said.append(("smooth", f"{self.smooth:g}"))
        said += [("scale", name) for name, is_log in (("x", self.log_x), ("y", self.log_y)) if is_log]
        return said + [("zoom", f"{low!r},{high!r},{name}") for name, (low, high) in self.zooms.items()]


USUAL = ChartSettings()


def chosen(query: QueryParams) -> ChartSettings:
    """The settings that an address says: ``x``, ``smooth``, ``scale`` (of which axes are logarithmic) and ``zoom``."""
    zooms = {}
    for said in query.getlist("zoom"):
        low, _, rest = said.partition(",")
        high, _, name = rest.partition(",")
        ends = (_number(low), _number(high))
        if name and ends[0] is not None and ends[1] is not None and ends[0] < ends[1]:
            zooms[name] = (ends[0], ends[1])
    weight = _number(query.get("smooth", "")) or 0.0
    x, logarithmic = query.get("x", ""), query.getlist("scale")
    return ChartSettings(
        axis=x if x in AXES else STEP,
        smooth=min(max(weight, 0.0), MOST_SMOOTHING),
        log_x="x" in logarithmic,
        log_y="y" in logarithmic,
        zooms=zooms,
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
