"""Tables in files: how they are read, what is done with their rows, and what is refused.

Those that read ask for ``pandas``: they run where it is installed, see conftest.py.
"""

import datetime

import pytest

from runyard.dataset import Dataset
from runyard.errors import DatasetTimestampMissingError, NotOfferedError, UserErrorException
from runyard.tabular_dataset import TabularDataset
from runyard.tabular_factory import DataType, PromoteHeadersBehavior

ADDRESS = "https://host/table.csv"


@pytest.fixture
def table(web):
    """``table(files, ...)``: the dataset of these texts by name, which this process serves."""

    def table(files, **options):
        for name, text in files.items():
            (web.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (web.folder / name).write_text(text, encoding=options.get("encoding", "utf8"))
        return Dataset.Tabular.from_delimited_files([web.address + name for name in files], **options)

    return table


def rows(dataset, **how):
    """The table as plain values, a missing one as None."""
    frame = dataset.to_pandas_dataframe(**how)
    return [
        {name: None if value != value else value for name, value in row.items()} for row in frame.to_dict("records")
    ]


# Reading


def test_types_are_found_out(pandas, table):
    frame = table(
        {
            "a.csv": "n,x,b,day,at,text\n1,0.5,True,2019-08-10,2019-08-10 12:00:00,a\n"
            "2,,False,2019-08-11,2019-08-11 13:30:00,7b\n"
        }
    ).to_pandas_dataframe()
    kinds = [frame[name].dtype.kind for name in ("n", "x", "b", "day", "at")]
    assert kinds == ["i", "f", "b", "M", "M"]
    assert frame["at"][1] == datetime.datetime(2019, 8, 11, 13, 30)
    assert list(frame["text"]) == ["a", "7b"]


def test_types_are_left_alone_if_asked(pandas, table):
    assert rows(table({"a.csv": "n,day\n01,2019-08-10\n"}, infer_column_types=False)) == [
        {"n": "01", "day": "2019-08-10"}
    ]


def test_dates_of_several_forms_stay_text(pandas, table):
    found = rows(table({"a.csv": "at\n2019-08-10\n2019-08-10T12:00:00+02:00\n2019-13-45\n"}))
    assert [row["at"] for row in found][-1] == "2019-13-45"


def test_types_that_are_said_are_taken(pandas, table):
    types = {
        "n": DataType.to_long(),
        "x": DataType.to_float(decimal_mark=","),
        "b": DataType.to_bool(),
        "day": DataType.to_datetime(["%d.%m.%Y", "%Y"]),
        "code": DataType.to_string(),
    }
    text = "n;x;b;day;code\n1;0,5;yes;10.08.2019;007\n2;1,5;0;2020;008\n"
    frame = table({"a.csv": text}, separator=";", set_column_types=types).to_pandas_dataframe()
    assert list(frame["n"]) == [1, 2] and list(frame["x"]) == [0.5, 1.5] and list(frame["b"]) == [True, False]
    assert list(frame["day"]) == [datetime.datetime(2019, 8, 10), datetime.datetime(2020, 1, 1)]
    assert list(frame["code"]) == ["007", "008"]


def test_a_value_that_is_not_of_its_type_is_missing_or_refused(pandas, table):
    dataset = table({"a.csv": "n\n1\nmany\n"}, set_column_types={"n": DataType.to_long()})
    assert [row["n"] for row in rows(dataset)] == [1, None]
    with pytest.raises(UserErrorException, match="The column 'n' has a value that is no long.*on_error='null'"):
        dataset.to_pandas_dataframe(on_error="fail")


@pytest.mark.parametrize(
    ("header", "names", "count"),
    [
        (True, ["a", "b"], 2),
        (PromoteHeadersBehavior.ALL_FILES_HAVE_SAME_HEADERS, ["a", "b"], 2),
        (PromoteHeadersBehavior.ONLY_FIRST_FILE_HAS_HEADERS, ["a", "b"], 3),
        (False, ["Column1", "Column2"], 4),
    ],
)
def test_the_first_line_of_files_is_read_as_said(pandas, table, header, names, count):
    frame = table({"1.csv": "a,b\n1,2\n", "2.csv": "a,b\n3,4\n"}, header=header).to_pandas_dataframe()
    assert list(frame.columns) == names
    assert len(frame) == count
    assert list(frame.index) == list(range(count))


def test_paths_become_columns(pandas, table):
    dataset = table(
        {"w/NY/2019-08-10.csv": "t\n1\n", "w/WA/2019-08-11.csv": "t\n2\n"},
        partition_format="/{state}/{day:yyyy-MM-dd}.csv",
        include_path=True,
    )
    assert dataset.partition_keys == ["state", "day"]
    found = rows(dataset)
    assert [(row["Path"], row["state"], row["t"]) for row in found] == [
        ("/w/NY/2019-08-10.csv", "NY", 1),
        ("/w/WA/2019-08-11.csv", "WA", 2),
    ]
    assert found[0]["day"] == datetime.datetime(2019, 8, 10)


def test_encodings_line_breaks_and_empty_fields_are_read(pandas, table):
    dataset = table({"a.csv": 'a,b\n"zwei\nZeilen",\nü,x\n'}, encoding="latin-1", empty_as_string=True)
    assert rows(dataset) == [{"a": "zwei\nZeilen", "b": ""}, {"a": "ü", "b": "x"}]


def test_json_lines_are_read(pandas, web):
    (web.folder / "a.jsonl").write_text('{"a": 1}\nno json\n{"a": 2, "b": "x"}\n')
    address = web.address + "a.jsonl"
    assert rows(Dataset.Tabular.from_json_lines_files(address, invalid_lines="drop")) == [
        {"a": 1, "b": None},
        {"a": 2, "b": "x"},
    ]
    with pytest.raises(UserErrorException, match="line 2 is no JSON.*invalid_lines='drop'"):
        Dataset.Tabular.from_json_lines_files(address).to_pandas_dataframe()


def test_what_cannot_be_read_is_named(pandas, table):
    with pytest.raises(UserErrorException, match="'a.csv' cannot be read as delimited"):
        table({"a.csv": 'a\n"never ends\n'}).to_pandas_dataframe()
    with pytest.raises(UserErrorException, match="The table has no column 'z'. It has: a."):
        table({"b.csv": "a\n1\n"}, set_column_types={"z": DataType.to_string()}).to_pandas_dataframe()


# Rows and columns


def test_rows_and_columns_are_chosen(pandas, table):
    dataset = table({"a.csv": "n,m\n" + "".join("{},x\n".format(n) for n in range(10))})
    assert [row["n"] for row in rows(dataset.skip(2).take(3))] == [2, 3, 4]
    assert rows(dataset.take(1).keep_columns("m")) == rows(dataset.take(1).drop_columns(["n"])) == [{"m": "x"}]
    with pytest.raises(UserErrorException, match="no column 'z'. It has: n, m"):
        dataset.keep_columns(["z"], validate=True)
    assert len(dataset.to_pandas_dataframe()) == 10, "the dataset itself stays as it is"


def test_chance_chooses_the_same_rows_every_time(pandas, table):
    dataset = table({"a.csv": "n\n" + "".join("{}\n".format(n) for n in range(1000))})
    some, others = dataset.random_split(0.7, seed=1)
    chosen, rest = [row["n"] for row in rows(some)], [row["n"] for row in rows(others)]
    assert sorted(chosen + rest) == list(range(1000))
    assert 600 < len(chosen) < 800
    assert chosen == [row["n"] for row in rows(dataset.take_sample(0.7, seed=1))]
    one, other = dataset.random_split(0.5)
    assert len(rows(one)) + len(rows(other)) == 1000


def test_rows_are_chosen_by_time(pandas, table):
    dataset = table({"a.csv": "at,n\n2019-08-10,1\n2019-08-11,2\n2019-08-12,3\n"}).with_timestamp_columns("at")
    assert dataset.timestamp_columns == ("at", None)
    middle = datetime.datetime(2019, 8, 11)
    assert [row["n"] for row in rows(dataset.time_before(middle))] == [1, 2]
    assert [row["n"] for row in rows(dataset.time_after(middle, include_boundary=False))] == [3]
    assert [row["n"] for row in rows(dataset.time_between(middle, middle))] == [2]
    assert rows(dataset.time_recent(datetime.timedelta(days=1))) == []
    with pytest.raises(UserErrorException, match="no column 'when'"):
        dataset.with_timestamp_columns("when", validate=True)


# Writing


def test_a_table_is_written_by_its_values_and_read_back(pandas, transport, table):
    from runyard.datastore import Datastore

    workspace = Workspace(transport)
    store = Datastore(workspace, "workspaceblobstore")
    dataset = table({"a.csv": "state,year,n\nNY,2019,1\nWA,2019,2\nNY,2020,3\n"})
    written = dataset.partition_by(["state", "year"], (store, "by"), "parts", show_progress=False)
    assert (written.name, written.version, written.partition_keys) == ("parts", 1, ["state", "year"])
    assert sorted((row["state"], row["year"], row["n"]) for row in rows(Dataset.get_by_name(workspace, "parts"))) == [
        ("NY", "2019", 1),
        ("NY", "2020", 3),
        ("WA", "2019", 2),
    ]
    files = dataset.partition_by(["state"], (store, "by"), show_progress=False, partition_as_file_dataset=True)
    assert files.to_path()[0].endswith("NY/data.parquet")
    with pytest.raises(UserErrorException, match="no column 'z'"):
        dataset.partition_by(["z"], (store, "by"))
    with pytest.raises(UserErrorException, match="'a/b', which cannot name a folder"):
        table({"b.csv": "k\na/b\n"}).partition_by(["k"], (store, "by"))
    with pytest.raises(UserErrorException, match=r"1 row\(s\) have no value for k"):
        table({"c.csv": "k,n\na,1\n,2\n"}).partition_by(["k"], (store, "by"))


def test_a_data_frame_is_registered(pandas, transport):
    from runyard.datastore import Datastore

    workspace = Workspace(transport)
    store = Datastore(workspace, "workspaceblobstore")
    for number in (1, 2):
        frame = pandas.DataFrame({"n": [number]})
        made = Dataset.Tabular.register_pandas_dataframe(frame, (store, "frames"), "frame", show_progress=False)
        assert (made.version, rows(made)) == (number, [{"n": number}])
    with pytest.raises(UserErrorException, match="A DataFrame of pandas is needed; this is a list"):
        Dataset.Tabular.register_pandas_dataframe([1], (store, "frames"), "frame", show_progress=False)


class Workspace:
    name = "tests"

    def __init__(self, transport):
        self.transport = transport


# Without pandas


def test_a_table_needs_no_pandas_until_it_is_read(tmp_path):
    import subprocess
    import sys

    script = (
        "import sys\n"
        "sys.modules['pandas'] = None\n"  # as Python itself marks a package that cannot be imported
        "from runyard import Dataset\n"
        "table = Dataset.Tabular.from_delimited_files({!r}).take(5)\n"
        "try:\n"
        "    table.to_pandas_dataframe()\n"
        "except Exception as fault:\n"
        "    print(type(fault).__name__, fault)\n"
    ).format(ADDRESS)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("UserErrorException Tables are read with pandas, which this Python does not have")
    assert "pip install pandas" in done.stdout and "pip_packages=['pandas']" in done.stdout


def made(**options):
    return Dataset.Tabular.from_delimited_files(ADDRESS, **options)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: made(separator=""), "separator is text"),
        (lambda: made(header="yes"), "header is True, False"),
        (lambda: made(set_column_types={"a": "int"}), "with DataTypes alone"),
        (lambda: made(partition_format="data.csv"), "names columns in braces"),
        (lambda: made().take(-1), "take takes a number of rows"),
        (lambda: made().skip(True), "skip takes a number of rows"),
        (lambda: made().take_sample(2), "between 0 and 1"),
        (lambda: made().keep_columns([]), "a list of names"),
        (lambda: made().with_timestamp_columns("a", "a"), "are two columns"),
        (lambda: made().with_timestamp_columns("a", of_day="b"), "not of_day"),
        (lambda: made().with_timestamp_columns("a").time_before("now"), "A time is a datetime"),
        (lambda: made().to_pandas_dataframe(on_error="skip"), "'null' or 'fail'"),
        (lambda: made().partition_by("state", "x"), "a list of columns"),
        (lambda: made().to_spec(), r"as_named_input\('name'\)"),
        (lambda: TabularDataset.from_table([ADDRESS], "[]"), "cannot read how the table"),
        (lambda: Dataset.Tabular.from_json_lines_files(ADDRESS, invalid_lines="keep"), "'error' or 'drop'"),
        (lambda: Dataset.Tabular.from_delimited_files("table.csv"), "takes a place on a datastore"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, said):
    with pytest.raises(UserErrorException, match=said):
        wrong()


def test_time_needs_its_column():
    for ask in (
        lambda: made().time_before(datetime.datetime(2019, 8, 10)),
        lambda: made().time_recent(datetime.timedelta(1)),
    ):
        with pytest.raises(DatasetTimestampMissingError, match="with_timestamp_columns"):
            ask()
    known = made().with_timestamp_columns(fine_grain_timestamp="at", coarse_grain_timestamp="day")
    assert known.timestamp_columns == ("at", "day")
    assert known.with_timestamp_columns(None).timestamp_columns == (None, None)


def test_what_tables_do_not_do_says_what_to_do():
    with pytest.raises(NotOfferedError, match="Spark, Dask and databases"):
        made().to_spark_dataframe()
    with pytest.raises(NotOfferedError, match="planned"):
        made().to_csv_files()
