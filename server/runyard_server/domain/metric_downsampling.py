"""Fewer points that draw the same line, where a number of points is asked for (MLflow does); pictures have curves."""

from runyard_server.domain.metric_chunks import Points


def downsample(points: Points, max_points: int) -> Points:
    """At most ``max_points`` (at least 4) of the points, in order.

    The first and last point stay, and of each of the equal stretches between them the least and the
    greatest value, so that no spike is lost. Where a stretch has a NaN, the NaN takes the place of
    the least.
    """
    count = len(points.values)
    if count <= max_points:
        return points
    stretches = max(1, (max_points - 2) // 2)
    kept = {0, count - 1}
    for stretch in range(stretches):
        start, end = 1 + stretch * (count - 2) // stretches, 1 + (stretch + 1) * (count - 2) // stretches
        places = range(start, end)
        if not places:
            continue
        numbers = [place for place in places if points.values[place] == points.values[place]]
        if len(numbers) < len(places):
            kept.add(next(place for place in places if points.values[place] != points.values[place]))
        else:
            kept.add(min(numbers, key=points.values.__getitem__))
        if numbers:
            kept.add(max(numbers, key=points.values.__getitem__))
    order = sorted(kept)
    return Points(
        [points.steps[place] for place in order],
        [points.times[place] for place in order],
        [points.values[place] for place in order],
    )
