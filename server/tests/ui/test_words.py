"""Numbers, sizes and times as people read them."""

import math

import pytest

from runyard_server.ui import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (0.98412345, "0.98412"),
        (1234, "1,234"),
        (1234.567, "1,234.6"),
        (99999.96, "100,000"),
        (-0.5, "−0.5"),
        (0.01, "0.01"),
        (3.2e-05, "3.2e−5"),
        (12_000_000, "1.2e7"),
        (math.nan, "NaN"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 KB"), (2_345_678, "2.3 MB"), (123_456_789, "123 MB"), (5e15, "5000 TB")],
)
def test_sizes(size_bytes: int, text: str) -> None:
    assert words.size(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 ms"),
        (0.34, "340 ms"),
        (4.21, "4.2 s"),
        (59.96, "1 m 00 s"),
        (185, "3 m 05 s"),
        (7800, "2 h 10 m"),
        (273600, "3 d 4 h"),
        (86400 * 30, "30 d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_times_are_utc() -> None:
    assert words.utc(1_566_000_000.0) == "2019-08-17 00:00:00 UTC"
    assert words.iso(1_566_000_000.5) == "2019-08-17T00:00:00.500Z"


def test_words_of_the_machine_become_words_of_people() -> None:
    assert words.spaced("CancelRequested") == "Cancel requested"
    assert words.spaced("outputs_collected") == "outputs collected"
    assert (words.count(1, "run"), words.count(1200, "run")) == ("1 run", "1,200 runs")
