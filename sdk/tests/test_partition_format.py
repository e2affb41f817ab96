"""Columns that are parts of paths."""

import datetime

import pytest

from runyard import partition_format
from runyard.errors import UserErrorException


@pytest.mark.parametrize(
    ("form", "path", "values"),
    [
        ("/{state}/data.csv", "weather/NY/data.csv", {"state": "NY"}),
        ("{state}/{file}.csv", "NY/a.csv", {"state": "NY", "file": "a"}),
        ("/{state}/*.csv", "w/NY/part-1.csv", {"state": "NY"}),
        (
            "/{team}/{day:yyyy/MM/dd}/x.csv",
            "d/a/2019/08/10/x.csv",
            {"team": "a", "day": datetime.datetime(2019, 8, 10)},
        ),
        ("{at:yyyy-MM-dd-HH-mm-ss}.csv", "2019-08-10-12-34-56.csv", {"at": datetime.datetime(2019, 8, 10, 12, 34, 56)}),
        ("/{at:yyyy}/{at:MM}/x", "2019/08/x", {"at": datetime.datetime(2019, 8, 1)}),
        ("/{a}/{a}/x", "n/n/x", {"a": "n"}),
        ("/{a}.(b)/x", "n.(b)/x", {"a": "n"}),
    ],
)
def test_a_path_of_the_form_gives_its_values(form, path, values):
    assert partition_format.values(form, path) == values


@pytest.mark.parametrize(
    ("form", "path"),
    [("/{state}/data.csv", "NY/other.csv"), ("/{a}/{a}/x", "n/m/x"), ("/{day:yyyy-MM-dd}/x", "2019-8-1/x")],
)
def test_a_path_of_another_form_is_refused(form, path):
    with pytest.raises(UserErrorException, match="does not fit partition_format"):
        partition_format.values(form, path)


def test_a_form_names_its_columns_in_order():
    assert partition_format.keys("/{b}/{a:yyyy}/{b}") == ["b", "a"]
    with pytest.raises(UserErrorException, match="names columns in braces"):
        partition_format.keys("/data.csv")
