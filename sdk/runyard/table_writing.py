"""Tables that are written to a datastore as Parquet: a DataFrame, or a dataset in folders by its values."""

import os
import tempfile
import uuid
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence

from runyard.datapath import DataPath
from runyard.errors import UserErrorException

if TYPE_CHECKING:
    from runyard.tabular_dataset import TabularDataset

_READING = {"format": "parquet", "include_path": False, "types": {}, "infer": True}
_FILE = "data.parquet"


def register(
    table: Any,
    target: Any,
    name: str,
    description: Optional[str],
    tags: Optional[Mapping[str, Any]],
    show_progress: bool,
    row_group_size: Optional[int],
    make_target_path_unique: bool,
) -> "TabularDataset":
    """Writes a DataFrame to a datastore and registers the dataset of it, as a new version of ``name``."""
    from runyard.tabular_dataset import TabularDataset

    place = DataPath.of(target, "target")
    with tempfile.TemporaryDirectory(prefix="dataset-") as folder:
        options = {} if row_group_size is None else {"row_group_size": row_group_size}
        _write(table, os.path.join(folder, _FILE), **options)
        below = _new_folder(place) if make_target_path_unique else place.path_on_datastore
        place.datastore.upload(folder, below, overwrite=True, show_progress=show_progress)
    path = "/".join(part for part in (below, _FILE) if part)
    made = TabularDataset([DataPath(place.datastore, path)], _READING)
    return made.register(place.datastore.workspace, name, description, tags, create_new_version=True)


def partition(
    dataset: "TabularDataset",
    keys: Sequence[str],
    target: Any,
    name: Optional[str],
    show_progress: bool,
    as_files: bool,
) -> Any:
    """Writes a dataset's rows into a folder for each value of ``keys`` and gives the dataset of those."""
    from runyard.file_dataset import FileDataset
    from runyard.tabular_dataset import TabularDataset

    if isinstance(keys, str) or not keys:
        raise UserErrorException("partition_keys is a list of columns, such as ['state']; this is {!r}.".format(keys))
    place = DataPath.of(target, "target")
    table = dataset.to_pandas_dataframe()
    missing = [key for key in keys if key not in table.columns]
    if missing:
        raise UserErrorException(
            "The table has no column '{}'. It has: {}.".format(missing[0], ", ".join(map(str, table.columns)))
        )
    below = _new_folder(place)
    with tempfile.TemporaryDirectory(prefix="dataset-") as folder:
        for values, rows in table.groupby(list(keys), sort=True):
            parts = [_part(key, value) for key, value in zip(keys, values if isinstance(values, tuple) else (values,))]
            where = os.path.join(folder, *parts)
            os.makedirs(where)
            _write(rows.drop(columns=list(keys)).reset_index(drop=True), os.path.join(where, _FILE))
        lost = int(table[list(keys)].isna().any(axis=1).sum())
        if lost:
            raise UserErrorException(
                "{} row(s) have no value for {}: no folder can be named by it. Fill the value in first.".format(
                    lost, " or ".join(keys)
                )
            )
        place.datastore.upload(folder, below, show_progress=show_progress)
    everything = [DataPath(place.datastore, below + "/**")]
    form = "/".join("{" + key + "}" for key in keys) + "/" + _FILE
    made: Any = FileDataset(everything, form) if as_files else TabularDataset(everything, _READING, (), form)
    return made if name is None else made.register(place.datastore.workspace, name, create_new_version=True)


def _new_folder(place: DataPath) -> str:
    return "/".join(part for part in (place.path_on_datastore, str(uuid.uuid4())) if part)


def _part(key: str, value: Any) -> str:
    text = str(value)
    if not text or text in (".", "..") or any(sign in text for sign in "/\\*?[") or text != text.strip():
        raise UserErrorException(
            "The column '{}' has the value {!r}, which cannot name a folder. Change it first, or choose another key.".format(
                key, text
            )
        )
    return text


def _write(table: Any, path: str, **options: Any) -> None:
    try:
        table.to_parquet(path, index=False, **options)
    except ImportError as fault:
        raise UserErrorException(
            "Parquet files need a library that this Python does not have ({}). Install it: pip install pyarrow.".format(
                str(fault).splitlines()[0]
            )
        ) from fault
    except AttributeError:
        raise UserErrorException(
            "A DataFrame of pandas is needed; this is a {}.".format(type(table).__name__)
        ) from None
