"""Where a number lies between two others."""


def share(at: float, least: float, greatest: float) -> float:
    """0 at ``least``, 1 at ``greatest``; a half where the two are one number. All are finite."""
    if greatest == least:
        return 0.5
    halves = greatest / 2 - least / 2  # by halves, since the distance may be more than a number can be
    if halves > 0:
        return (at / 2 - least / 2) / halves
    return (at - least) / (greatest - least)  # and not by halves, where half of it is less than a number can be
