import pytest

from runyard_server.environments.pythons_of_date import is_newer, pythons_of


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        ("2018-06-27", ("3.7",)),
        ("2019-08-13", ("3.7",)),
        ("2019-12-31", ("3.7",)),  # 3.8 was out for two months: most packages had no builds for it
        ("2020-06-01", ("3.8", "3.7")),
        ("2022-06-01", ("3.10", "3.9", "3.8", "3.7")),
        ("2023-06-01", ("3.11", "3.10", "3.9", "3.8")),
        ("2026-06-01", ("3.14", "3.13", "3.12", "3.11")),
    ],
)
def test_a_day_has_the_pythons_that_packages_were_made_for_then(as_of, expected):
    assert pythons_of(as_of) == expected


@pytest.mark.parametrize(
    ("version", "as_of", "expected"),
    [
        ("3.7", "2018-07-01", False),
        ("3.11", "2019-08-13", True),
        ("3.8.18", "2019-12-31", True),
        ("3.8.18", "2020-06-01", False),
        ("3.9", "2026-06-01", False),
    ],
)
def test_a_python_is_newer_than_a_day_until_packages_caught_up(version, as_of, expected):
    assert is_newer(version, as_of) is expected
