"""The ``log*`` methods of a run: they check a value as Azure does and hand it to the run's spool."""

import json
import math
import os
import re
import tempfile
import time
from typing import Any, Dict, List, Optional, Set

from runyard.errors import UserErrorException
from runyard.spool import Spool, check_name, scalar_text

LIST = "azureml.v1.list"
TABLE = "azureml.v1.table"
IMAGE = "azureml.v2.image"
CONFUSION_MATRIX = "azureml.v2.confusion_matrix"
ACCURACY_TABLE = "azureml.v2.accuracy_table"
RESIDUALS = "azureml.v2.residuals"
PREDICTIONS = "azureml.v2.predictions"

_DEPTH = 32


class MetricLogging:
    """Mixin of every run that logs: in a job, interactive, offline.

    The class that mixes it in sets ``_metric_spool``: a Spool, or None for a run outside a job, which
    prints what it would have logged. It also gives ``id`` and ``_add_file``.
    """

    id = ""
    _metric_spool: Optional[Spool] = None

    def _add_file(self, run_path: str, local_path: str) -> None:
        """Puts the local file among the run's files as ``run_path``; returns once it is copied or sent."""
        raise NotImplementedError

    def log(self, name: str, value: Any, description: str = "", step: Optional[int] = None) -> None:
        """Logs a number or a text. Takes microseconds: delivery is done beside the script.

        Args:
            name: 1 to 255 characters. Logged again, the metric becomes a list of values.
            value: int (64 bits), float, str, or a scalar of numpy, TensorFlow, PyTorch.
            step: an integer, for the x axis.
        Raises:
            UserErrorException: the name, value or step is none of that.
        """
        if type(value) is not float and type(value) is not int:
            value = _scalar(name, value)
        spool = self._metric_spool
        if spool is None:
            if type(value) is not float:
                scalar_text(name, value)  # what a job would refuse is refused here
            self._attempted("scalar", name, value)
            return
        spool.scalar(name, value, step)
        if description:
            spool.describe(name, description)

    def log_list(self, name: str, value: Any, description: str = "") -> None:
        """Logs a list, tuple, range or array of numbers or texts as one metric."""
        if isinstance(value, dict) or not _is_many(value):
            raise UserErrorException(
                "log_list('{}') takes a list of numbers or texts, not {}. Use log() for a single value.".format(
                    name, type(value).__name__
                )
            )
        self._entry("list", name, LIST, _cells(name, value), description)

    def log_row(self, name: str, description: Optional[str] = None, **kwargs: Any) -> None:
        """Logs one row of a table: ``run.log_row("loss", epoch=1, train=0.5, test=0.6)``."""
        if not kwargs:
            raise UserErrorException(
                "log_row('{0}') takes the row's cells as keyword arguments: run.log_row('{0}', x=1, y=2).".format(name)
            )
        row = {column: _cell(name, cell) for column, cell in kwargs.items()}
        self._entry("row", name, TABLE, row, description or "")

    def log_table(self, name: str, value: Dict[str, Any], description: str = "") -> None:
        """Logs a table: a dictionary of column name to a list of cells (or to one cell)."""
        if not isinstance(value, dict) or not value:
            raise UserErrorException(
                "log_table('{0}') takes a dictionary of columns: run.log_table('{0}', {{'x': [1, 2], 'y': [3, 4]}}), "
                "not {1}. A data frame is one after .to_dict('list').".format(
                    name, "an empty one" if value == {} else type(value).__name__
                )
            )
        table: Dict[str, Any] = {}
        for column, cells in value.items():
            if _is_many(cells):
                table[str(column)] = _cells(name, cells)
            else:
                table[str(column)] = _cell(name, cells)
        self._entry("table", name, TABLE, table, description)

    def log_image(self, name: str, path: Optional[str] = None, plot: Any = None, description: str = "") -> None:
        """Logs an image: a file, or a plot (anything with ``savefig``, as ``matplotlib.pyplot``).

        It becomes one of the run's files, ``<name>_<time>.png``; the metric is its artifact location.
        """
        if (path is None) == (plot is None):
            raise UserErrorException("log_image('{}') takes either path= or plot=, one of them.".format(name))
        if plot is not None and not hasattr(plot, "savefig"):
            raise UserErrorException(
                "log_image('{}') takes a plot with savefig(), such as matplotlib.pyplot or a Figure, not {}.".format(
                    name, type(plot).__name__
                )
            )
        if path is not None and not os.path.isfile(path):
            raise UserErrorException("log_image('{}'): there is no file '{}'.".format(name, path))
        check_name(name)
        if self._metric_spool is None:
            self._attempted("image", name, path if plot is None else plot)
            return
        if path is not None:
            run_path = _image_path(name, os.path.splitext(str(path))[1])
            self._add_file(run_path, str(path))
        else:
            run_path = _image_path(name, ".png")
            with tempfile.TemporaryDirectory(prefix="runyard-") as folder:
                local = os.path.join(folder, "plot.png")
                plot.savefig(local, format="png")
                self._add_file(run_path, local)
        location = "aml://artifactId/ExperimentRun/dcid.{}/{}".format(self.id, run_path)
        self._entry("image", name, IMAGE, location, description)

    def log_confusion_matrix(self, name: str, value: Any, description: str = "") -> None:
        """Logs a confusion matrix: Azure's JSON, as text or dictionary, with ``schema_type`` and ``data``."""
        self._entry("confusion_matrix", name, CONFUSION_MATRIX, _document(name, value, "confusion_matrix"), description)

    def log_accuracy_table(self, name: str, value: Any, description: str = "") -> None:
        """Logs an accuracy table (for ROC and precision-recall curves): Azure's JSON, text or dictionary."""
        self._entry("accuracy_table", name, ACCURACY_TABLE, _document(name, value, "accuracy_table"), description)

    def log_residuals(self, name: str, value: Any, description: str = "") -> None:
        """Logs residuals of a regression: Azure's JSON, as text or dictionary."""
        self._entry("residuals", name, RESIDUALS, _document(name, value, "residuals"), description)

    def log_predictions(self, name: str, value: Any, description: str = "") -> None:
        """Logs predictions against true values: Azure's JSON, as text or dictionary."""
        self._entry("predictions", name, PREDICTIONS, _document(name, value, "predictions"), description)

    def _entry(self, kind: str, name: str, type_: str, value: Any, description: str) -> None:
        check_name(name)
        spool = self._metric_spool
        if spool is None:
            self._attempted(kind, name, value)
            return
        spool.entry(name, type_, value)
        if description:
            spool.describe(name, description)

    def _attempted(self, kind: str, name: str, value: Any) -> None:
        check_name(name)
        print("Attempted to log {} metric {}:\n{}".format(kind, name, value))


def _is_many(value: Any) -> bool:
    """Whether it is a list, array, generator, ... and not one value."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        return False
    return getattr(value, "ndim", None) != 0  # arrays without dimensions have __iter__ too


def _scalar(name: str, value: Any) -> Any:
    """The value as int, float, bool or str; scalars of other libraries are converted."""
    kind = type(value)
    if kind is float or kind is int or kind is bool or kind is str:
        return value
    item = getattr(value, "item", None)
    if item is None and callable(getattr(value, "numpy", None)):
        value = value.numpy()  # an eager tensor of TensorFlow
        item = getattr(value, "item", None)
    if callable(item):
        try:
            value = item()
        except (ValueError, RuntimeError):  # more than one element
            raise UserErrorException(_not_scalar(name, value)) from None
    if _is_many(value):
        raise UserErrorException(_not_scalar(name, value))
    for plain in (bool, int, float, str):
        if isinstance(value, plain):
            return plain(value)
    if value is not None and hasattr(value, "__float__") and not isinstance(value, complex):
        return float(value)
    raise UserErrorException(
        "The value of metric '{}' must be a number or text, not {}.".format(name, type(value).__name__)
    )


def _not_scalar(name: str, value: Any) -> str:
    return (
        "run.log('{0}', ...) takes one number or text, not {1}. Use run.log_list('{0}', value) for a list, or "
        "call run.log('{0}', ...) for each value.".format(name, type(value).__name__)
    )


def _cell(name: str, value: Any) -> Any:
    """A cell as plain scalar; None is a missing one."""
    if value is None:
        return None
    if _is_many(value):
        raise UserErrorException(
            "'{}' has a {} for a cell: cells are numbers, texts or None.".format(name, type(value).__name__)
        )
    value = _scalar(name, value)
    if type(value) is int:
        scalar_text(name, value)
    return value


def _cells(name: str, values: Any) -> List[Any]:
    """A column or list as plain scalars."""
    if isinstance(values, dict):
        raise UserErrorException("'{}' has a dictionary for a column: give a list of cells.".format(name))
    if hasattr(values, "tolist"):
        values = values.tolist()
    return [_cell(name, value) for value in values]


def _document(name: str, value: Any, schema: str) -> Any:
    """Azure's ``{"schema_type", "schema_version", "data"}`` as plain JSON."""
    method = "log_" + schema
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as problem:
            raise UserErrorException("{}('{}'): the text is not JSON: {}.".format(method, name, problem)) from None
    if not isinstance(value, dict) or not isinstance(value.get("data"), dict):
        raise UserErrorException(
            "{}('{}') takes a dictionary (or its JSON text) {{'schema_type': '{}', 'schema_version': '1.0.0', "
            "'data': {{...}}}}.".format(method, name, schema)
        )
    if value.get("schema_type") != schema:
        raise UserErrorException(
            "{}('{}'): schema_type must be '{}', not {!r:.60}.".format(method, name, schema, value.get("schema_type"))
        )
    return _plain(name, value, _DEPTH)


def _plain(name: str, value: Any, depth: int) -> Any:
    if depth == 0:
        raise UserErrorException("'{}' is nested deeper than {} levels.".format(name, _DEPTH))
    if isinstance(value, dict):
        return {str(key): _plain(name, item, depth - 1) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(name, item, depth - 1) for item in value]
    return _cell(name, value)


_taken: Set[str] = set()  # paths given out by this process in the present millisecond


def _image_path(name: str, ending: str) -> str:
    stem = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip("._") or "image"
    ending = ending if re.match(r"^\.\w{1,8}$", ending) else ".png"
    while True:
        path = "{}_{}{}".format(stem[:200], int(math.floor(time.time() * 1000)), ending)
        if path not in _taken:
            if len(_taken) > 1000:
                _taken.clear()
            _taken.add(path)
            return path
        time.sleep(0.001)
