"""TabularDatasetFactory: the makers of tables, ``Dataset.Tabular``, and the words in which their files are described."""

from typing import Any, Dict, List, Mapping, Optional

from runyard import table_reading
from runyard.absent import answering
from runyard.errors import UserErrorException
from runyard.tabular_dataset import TabularDataset


class PromoteHeadersBehavior:
    """Which files of a table have the columns' names in their first line."""

    NO_HEADERS = 0
    ONLY_FIRST_FILE_HAS_HEADERS = 1
    COMBINE_ALL_FILES_HEADERS = 2
    ALL_FILES_HAVE_SAME_HEADERS = 3


_HEADERS = {
    PromoteHeadersBehavior.NO_HEADERS: table_reading.NO_HEADERS,
    PromoteHeadersBehavior.ONLY_FIRST_FILE_HAS_HEADERS: table_reading.FIRST_FILE_HEADERS,
    PromoteHeadersBehavior.COMBINE_ALL_FILES_HEADERS: "all",
    PromoteHeadersBehavior.ALL_FILES_HAVE_SAME_HEADERS: "all",
}


@answering("azureml.data.dataset_factory.DataType")
class DataType:
    """A column's type, for ``set_column_types``."""

    def __init__(self, type: str, **more: Any) -> None:
        self.said: Dict[str, Any] = dict(more, type=type)

    @staticmethod
    def to_string() -> "DataType":
        """Text."""
        return DataType("string")

    @staticmethod
    def to_long() -> "DataType":
        """A whole number."""
        return DataType("long")

    @staticmethod
    def to_float(decimal_mark: str = ".") -> "DataType":
        """A number, written with that decimal mark."""
        return DataType("float", decimal_mark=decimal_mark)

    @staticmethod
    def to_bool() -> "DataType":
        """True or false."""
        return DataType("bool")

    @staticmethod
    def to_datetime(formats: Any = None) -> "DataType":
        """A time; ``formats`` as of ``strptime``, one or several that are tried in turn."""
        return DataType("datetime", formats=[formats] if isinstance(formats, str) else formats and list(formats))


@answering("azureml.data.dataset_factory.TabularDatasetFactory")
class TabularDatasetFactory:
    """Makes datasets that are tables: ``Dataset.Tabular``. ``path`` is written as for ``Dataset.File.from_files``."""

    @staticmethod
    def from_delimited_files(
        path: Any,
        validate: bool = True,
        include_path: bool = False,
        infer_column_types: bool = True,
        set_column_types: Optional[Mapping[str, DataType]] = None,
        separator: str = ",",
        header: Any = True,
        partition_format: Optional[str] = None,
        support_multi_line: bool = False,
        empty_as_string: bool = False,
        encoding: str = "utf8",
    ) -> TabularDataset:
        """A table in files such as CSV.

        Args:
            validate: whether the files are looked for now.
            include_path: adds the column "Path".
            infer_column_types: whether numbers, truth values and times (as 2019-08-10 12:00:00) are read as such; False
                reads every column as text.
            set_column_types: columns whose type is said, such as {"day": DataType.to_datetime("%d.%m.%Y")}.
            header: True, False, or one of PromoteHeadersBehavior; columns without a name are "Column1", "Column2", ...
            partition_format: columns out of the files' paths, such as "/{state}/{day:yyyy-MM-dd}/data.csv".
            support_multi_line: accepted: fields in quotes may always hold line breaks.
            empty_as_string: whether empty fields are "" and not missing.
        Raises:
            UserErrorException: something that cannot be read, or ``validate`` and nothing there.
        """
        if not isinstance(separator, str) or not separator:
            raise UserErrorException("separator is text such as ','; this is {!r}.".format(separator))
        words: Dict[str, Any] = {
            "infer": bool(infer_column_types),
            "separator": separator,
            "header": _header(header),
            "empty_as_string": bool(empty_as_string),
            "encoding": str(encoding),
        }
        reading = _reading(table_reading.DELIMITED, include_path, set_column_types, **words)
        return _made(path, reading, partition_format, validate)

    @staticmethod
    def from_parquet_files(
        path: Any,
        validate: bool = True,
        include_path: bool = False,
        set_column_types: Optional[Mapping[str, DataType]] = None,
        partition_format: Optional[str] = None,
    ) -> TabularDataset:
        """A table in Parquet files, which pandas reads with pyarrow. Arguments as of ``from_delimited_files``."""
        reading = _reading(table_reading.PARQUET, include_path, set_column_types)
        return _made(path, reading, partition_format, validate)

    @staticmethod
    def from_json_lines_files(
        path: Any,
        validate: bool = True,
        include_path: bool = False,
        set_column_types: Optional[Mapping[str, DataType]] = None,
        partition_format: Optional[str] = None,
        invalid_lines: str = "error",
        encoding: str = "utf8",
    ) -> TabularDataset:
        """A table in files with a JSON object on each line. Arguments as of ``from_delimited_files``, and:

        Args:
            invalid_lines: "error" or "drop".
        """
        if invalid_lines not in ("error", "drop"):
            raise UserErrorException("invalid_lines is 'error' or 'drop'; this is {!r}.".format(invalid_lines))
        words: Dict[str, Any] = {"invalid_lines": invalid_lines, "encoding": str(encoding)}
        reading = _reading(table_reading.JSON_LINES, include_path, set_column_types, **words)
        return _made(path, reading, partition_format, validate)

    @staticmethod
    def register_pandas_dataframe(
        dataframe: Any,
        target: Any,
        name: str,
        description: Optional[str] = None,
        tags: Optional[Mapping[str, Any]] = None,
        show_progress: bool = True,
        row_group_size: Optional[int] = None,
        make_target_path_unique: bool = True,
    ) -> TabularDataset:
        """Writes a DataFrame to a datastore as Parquet and registers it, as a new version of ``name``.

        Args:
            target: ``(datastore, 'folder')`` or a DataPath.
            make_target_path_unique: whether the file goes into a new folder below ``target``.
        """
        from runyard import table_writing

        return table_writing.register(
            dataframe, target, name, description, tags, show_progress, row_group_size, make_target_path_unique
        )


def _reading(
    kind: str, include_path: bool, types: Optional[Mapping[str, DataType]], infer: bool = True, **words: Any
) -> Dict[str, Any]:
    """How a table's files are read: what all kinds of files have, and the kind's own ``words``."""
    return dict(words, format=kind, include_path=bool(include_path), infer=infer, types=_types(types))


def _made(path: Any, reading: Mapping[str, Any], partition_format: Optional[str], validate: bool) -> TabularDataset:
    from runyard.dataset_sources import sources
    from runyard.file_dataset import FileDataset

    found = sources(path)
    if validate and any(not isinstance(source, str) for source in found):
        FileDataset(found).to_path()
    return TabularDataset(found, reading, (), partition_format)


def _types(types: Optional[Mapping[str, Any]]) -> Dict[str, Any]:
    wrong: List[Any] = [value for value in (types or {}).values() if not isinstance(value, DataType)]
    if wrong:
        raise UserErrorException(
            "set_column_types is a dict such as {{'day': DataType.to_datetime()}}, with DataTypes alone; this is {!r}.".format(
                wrong[0]
            )
        )
    return {str(name): value.said for name, value in (types or {}).items()}


def _header(header: Any) -> str:
    if isinstance(header, bool):
        return "all" if header else table_reading.NO_HEADERS
    value = getattr(header, "value", header)
    if value not in _HEADERS:
        raise UserErrorException("header is True, False or one of PromoteHeadersBehavior; this is {!r}.".format(header))
    return _HEADERS[value]
