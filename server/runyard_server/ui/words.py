"""Numbers, sizes, times and statuses as people read them."""

from datetime import UTC, datetime

from runyard.protocol.retention import RetentionAction
from runyard.protocol.runs import RunRecord
from runyard_server.domain.figures import number as number

_UNITS = ("B", "KB", "MB", "GB", "TB")


def size(size_bytes: int) -> str:
    """12 B, 3.4 KB, 120 MB; powers of 1,000."""
    amount = float(size_bytes)
    for unit in _UNITS:
        if amount < 999.5 or unit == _UNITS[-1]:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.5 else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError("the last unit takes everything")


def duration(seconds: float) -> str:
    """340 ms, 4.2 s, 3 m 05 s, 2 h 10 m, 3 d 4 h."""
    seconds = max(0.0, seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    hours = whole % 86400 // 3600
    return f"{whole // 86400} d" + (f" {hours} h" if hours else "")


def does(action: RetentionAction) -> str:
    """What a retention rule does to a run."""
    return {
        RetentionAction.ARCHIVE: "archives",
        RetentionAction.FILES: "removes the files of",
        RetentionAction.DELETE: "deletes",
    }[action]


def run_name(run: RunRecord) -> str:
    """What a run is called among others."""
    return run.display_name or f"{run.experiment} #{run.number}"


def utc(at: float) -> str:
    """2019-08-17 00:00:00 UTC; a moment that no calendar has, as the number that somebody wrote."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{at:g} s"


def iso(at: float) -> str:
    """The same for programs; "" for a moment that no calendar has."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return ""


def spaced(word: str) -> str:
    """CancelRequested as "Cancel requested", outputs_collected as "outputs collected"."""
    parts = "".join(f" {letter.lower()}" if letter.isupper() and place else letter for place, letter in enumerate(word))
    return parts.replace("_", " ")


def count(amount: int, one: str, many: str = "") -> str:
    """1 run, 1,200 runs."""
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"
