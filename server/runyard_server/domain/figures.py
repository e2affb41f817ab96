"""Numbers as people read them, on pages and in notebooks."""

import math
from functools import lru_cache

_FEWEST, _MOST = 1e-4, 1e7  # beyond these a number is written with an exponent


@lru_cache(maxsize=8192)  # of a curve, most points are those of the last look
def number(value: float | None) -> str:
    """About five digits: 0.98412, 1,234, 3.2e-05. A dash for none."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "NaN" if value != value else "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    size = abs(value)
    if size < _FEWEST or size >= _MOST:
        mantissa, exponent = f"{value:.3e}".split("e")
        text = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    elif value == int(value):
        text = f"{int(value):,}"
    else:
        text = f"{value:,.{max(0, 4 - math.floor(math.log10(size)))}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")
