"""TabularDataset: files that are read as one table, and what is done with its rows."""

import json
import random
from typing import TYPE_CHECKING, Any, List, Mapping, Optional, Sequence, Tuple

from runyard.absent import answering
from runyard.abstract_dataset import AbstractDataset, Source
from runyard.errors import DatasetTimestampMissingError, UserErrorException

if TYPE_CHECKING:
    from runyard.protocol.datasets import DatasetDefinition

ON_ERROR = ("null", "fail")


@answering("azureml.data.TabularDataset")
class TabularDataset(AbstractDataset):
    """A table in files. ``Dataset.Tabular.from_delimited_files`` and its relatives make one.

    Nothing is read until ``to_pandas_dataframe()``; the other methods give a new dataset that knows what is to be done.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        reading: Mapping[str, Any],
        steps: Sequence[Sequence[Any]] = (),
        partition_format: Optional[str] = None,
    ) -> None:
        super().__init__(sources, partition_format)
        self._reading = dict(reading)
        self._steps: List[List[Any]] = [list(step) for step in steps]

    @classmethod
    def from_table(
        cls, sources: Sequence[Source], table: str, partition_format: Optional[str] = None
    ) -> "TabularDataset":
        """The dataset of a definition's ``table``.

        Raises:
            UserErrorException: it was written by a newer version, or by something else.
        """
        try:
            said = json.loads(table)
            return cls(sources, dict(said["reading"]), list(said["steps"]), partition_format)
        except (ValueError, TypeError, KeyError):
            raise UserErrorException(
                "This version of runyard cannot read how the table of the dataset is made: {!r:.200}. Register it anew, "
                "or install the version that registered it.".format(table)
            ) from None

    def to_definition(self) -> "DatasetDefinition":
        """What goes over the wire: where the files are, how they are read, what is done with the rows."""
        from runyard.dataset_registration import wire_sources
        from runyard.protocol.datasets import TABULAR, DatasetDefinition

        table = json.dumps({"reading": self._reading, "steps": self._steps}, sort_keys=True)
        return DatasetDefinition(TABULAR, wire_sources(self), self._partition_format, table)

    def to_spec(self) -> Any:
        """Refused, as in Azure: a run is given it under a name.

        Raises:
            UserErrorException: always.
        """
        raise UserErrorException(
            "A TabularDataset itself cannot be an argument or an input. Say dataset.as_named_input('name'); the script finds "
            "the table in Run.get_context().input_datasets['name']."
        )

    # Reading

    def to_pandas_dataframe(self, on_error: str = "null", out_of_range_datetime: str = "null") -> Any:
        """The table as a DataFrame of pandas, which the caller's own Python must have.

        Args:
            on_error: "null" reads a value that is not of its column's type as missing, "fail" refuses it.
            out_of_range_datetime: the same for times that pandas cannot hold.
        Raises:
            UserErrorException: pandas is missing (or pyarrow, for Parquet), or the files do not fit the description.
        """
        from runyard import table_reading

        for name, value in (("on_error", on_error), ("out_of_range_datetime", out_of_range_datetime)):
            if value not in ON_ERROR:
                raise UserErrorException("{} is 'null' or 'fail'; this is {!r}.".format(name, value))
        return table_reading.frame(
            self._sources, self._reading, self._steps, self._partition_format, on_error, out_of_range_datetime
        )

    # Rows

    def take(self, count: int) -> "TabularDataset":
        """Its first ``count`` rows."""
        return self._with("take", _count("take", count))

    def skip(self, count: int) -> "TabularDataset":
        """All but its first ``count`` rows."""
        return self._with("skip", _count("skip", count))

    def take_sample(self, probability: float, seed: Optional[int] = None) -> "TabularDataset":
        """About that part of its rows (between 0 and 1), chosen by chance; the same ones whenever it is read."""
        return self._with("part", _fraction("probability", probability), _seed(seed), True)

    def random_split(self, percentage: float, seed: Optional[int] = None) -> "Tuple[TabularDataset, TabularDataset]":
        """Two datasets, chosen by chance: about that part of its rows (between 0 and 1), and the others."""
        part, chosen = _fraction("percentage", percentage), _seed(seed)
        return self._with("part", part, chosen, True), self._with("part", part, chosen, False)

    # Columns

    def keep_columns(self, columns: Any, validate: bool = False) -> "TabularDataset":
        """These columns alone.

        Args:
            validate: whether the files are read now, to see that they have them.
        """
        return self._with("keep", _columns(columns))._validated(validate)

    def drop_columns(self, columns: Any) -> "TabularDataset":
        """All columns but these."""
        return self._with("drop", _columns(columns))

    # Time

    @property
    def timestamp_columns(self) -> Tuple[Optional[str], Optional[str]]:
        """The columns that hold a row's time and its partition's, as ``with_timestamp_columns`` named them."""
        for step in reversed(self._steps):
            if step[0] == "timestamps":
                return step[1], step[2]
        return None, None

    def with_timestamp_columns(
        self,
        timestamp: Optional[str] = None,
        partition_timestamp: Optional[str] = None,
        validate: bool = False,
        **older: Any,
    ) -> "TabularDataset":
        """Says which columns hold the time, which ``time_before`` and its relatives look at.

        Args:
            timestamp: the column with a row's time; None takes back what was said.
            partition_timestamp: a coarser one, such as the day.
            validate: whether the files are read now, to see that they have them.
            older: ``fine_grain_timestamp`` and ``coarse_grain_timestamp``, their names of before.
        """
        timestamp = older.pop("fine_grain_timestamp", timestamp)
        partition_timestamp = older.pop("coarse_grain_timestamp", partition_timestamp)
        if older:
            raise UserErrorException(
                "with_timestamp_columns takes timestamp, partition_timestamp and validate, not {}.".format(
                    ", ".join(sorted(older))
                )
            )
        if timestamp is not None and timestamp == partition_timestamp:
            raise UserErrorException(
                "timestamp and partition_timestamp are two columns; both are {!r}.".format(timestamp)
            )
        return self._with("timestamps", timestamp, partition_timestamp)._validated(validate)

    def time_before(self, end_time: Any, include_boundary: bool = True, validate: bool = True) -> "TabularDataset":
        """The rows up to a time (a datetime).

        Raises:
            DatasetTimestampMissingError: ``with_timestamp_columns`` has not said which column that is.
        """
        return self._within(None, end_time, include_boundary)._validated(validate)

    def time_after(self, start_time: Any, include_boundary: bool = True, validate: bool = True) -> "TabularDataset":
        """The rows from a time on. Raises as ``time_before``."""
        return self._within(start_time, None, include_boundary)._validated(validate)

    def time_between(
        self, start_time: Any, end_time: Any, include_boundary: bool = True, validate: bool = True
    ) -> "TabularDataset":
        """The rows between two times. Raises as ``time_before``."""
        return self._within(start_time, end_time, include_boundary)._validated(validate)

    def time_recent(self, time_delta: Any, include_boundary: bool = True, validate: bool = True) -> "TabularDataset":
        """The rows of the last ``time_delta`` (a timedelta) before now. Raises as ``time_before``."""
        import datetime

        now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        return self._within(now - time_delta, now, include_boundary)._validated(validate)

    # In other files

    def partition_by(
        self,
        partition_keys: Sequence[str],
        target: Any,
        name: Optional[str] = None,
        show_progress: bool = True,
        partition_as_file_dataset: bool = False,
    ) -> Any:
        """Writes the rows as Parquet, a folder for each value of the keys, and gives the dataset of that.

        Args:
            partition_keys: columns; they become parts of the paths.
            target: ``(datastore, 'folder')`` or a DataPath; the files go into a new folder below it.
            name: registers the dataset under that name, as a new version.
            partition_as_file_dataset: gives a FileDataset instead of a table.
        Raises:
            UserErrorException: a column that is not there, a value that is no name of a folder, or pandas or pyarrow
                is missing.
        """
        from runyard import table_writing

        return table_writing.partition(self, partition_keys, target, name, show_progress, partition_as_file_dataset)

    # Inside

    def _paths(self) -> List[str]:
        from runyard.file_dataset import FileDataset

        return FileDataset(self._sources)._paths()

    def _with(self, *step: Any) -> "TabularDataset":
        return TabularDataset(self._sources, self._reading, [*self._steps, list(step)], self._partition_format)

    def _within(self, start: Any, end: Any, include_boundary: bool) -> "TabularDataset":
        column, partition = self.timestamp_columns
        if column is None and partition is None:
            raise DatasetTimestampMissingError(
                "This dataset does not know which column holds the time. Say it first: "
                "dataset.with_timestamp_columns(timestamp='column')."
            )
        said = [None if moment is None else _moment(moment) for moment in (start, end)]
        return self._with("time", column or partition, said[0], said[1], bool(include_boundary))

    def _validated(self, validate: bool) -> "TabularDataset":
        if validate:
            self.to_pandas_dataframe()
        return self


def _count(what: str, count: Any) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise UserErrorException("{} takes a number of rows, a whole number from 0; this is {!r}.".format(what, count))
    return count


def _fraction(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise UserErrorException("{} is a number between 0 and 1; this is {!r}.".format(what, value))
    return float(value)


def _seed(seed: Optional[int]) -> int:
    return random.SystemRandom().getrandbits(48) if seed is None else int(seed)


def _columns(columns: Any) -> List[str]:
    found = [columns] if isinstance(columns, str) else list(columns)
    if not found or not all(isinstance(name, str) for name in found):
        raise UserErrorException("columns is a column's name or a list of names; this is {!r}.".format(columns))
    return found


def _moment(moment: Any) -> str:
    said = getattr(moment, "isoformat", None)
    if said is None:
        raise UserErrorException(
            "A time is a datetime, such as datetime(2019, 8, 10, 12); this is {!r}.".format(moment)
        )
    return str(said())
