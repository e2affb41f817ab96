"""Numbers and times as people read them."""


def number(value: float) -> str:
    """Six digits at most, as people read them."""
    return "{:.6g}".format(value)


def duration(seconds: float) -> str:
    """0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 9.95:
        return "{:.1f} s".format(max(0.0, seconds))
    whole_seconds = int(round(seconds))
    if whole_seconds < 60:
        return "{} s".format(whole_seconds)
    if whole_seconds < 3600:
        return "{} min {} s".format(*divmod(whole_seconds, 60))
    return "{} h {} min".format(*divmod(whole_seconds // 60, 60))
