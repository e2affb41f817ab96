"""Experiments: named collections of runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from runyard.errors import ExperimentException, UnknownExperimentError
from runyard.names import check_experiment_name
from runyard.protocol.experiments import ExperimentChanges, ExperimentRecord
from runyard_server.domain.clock import Clock
from runyard_server.records import experiments as records
from runyard_server.records import runs as run_records
from runyard_server.records.engine import Database
from runyard_server.records.runs import Tally as Tally


class ExperimentService:
    """What may be asked of experiments."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def get_or_create(self, name: str) -> ExperimentRecord:
        """The experiment of that name, made where there is none.

        Raises:
            ExperimentException: the name is against the rules.
        """
        check_experiment_name(name)
        with self._database.write() as connection:
            return records.get_or_create(connection, name, self._clock.now())

    def create(
        self, name: str, tags: dict[str, str], experiment_id: str | None = None, created_at: float | None = None
    ) -> ExperimentRecord | None:
        """A new experiment with these tags; None where one of that name or id is here.

        Args:
            experiment_id: the id that it has had elsewhere; default: a new one.
            created_at: when it was made, where that was before now.
        Raises:
            ExperimentException: the name is against the rules.
        """
        check_experiment_name(name)
        at = self._clock.now() if created_at is None else created_at
        with self._database.write() as connection:
            return records.create(connection, name, at, tags, experiment_id)

    def find(self, name: str) -> ExperimentRecord | None:
        """The experiment of that name, None where there is none."""
        with self._database.read() as connection:
            return records.get_by_name(connection, name)

    def find_by_id(self, experiment_id: str) -> ExperimentRecord | None:
        """The experiment of that id, None where there is none."""
        with self._database.read() as connection:
            return records.get(connection, experiment_id)

    def get_many(self, ids: Sequence[str] = (), names: Sequence[str] = ()) -> Sequence[ExperimentRecord]:
        """Those of these ids, or names, that are here, in no order; read at once."""
        with self._database.read() as connection:
            return records.get_many(connection, ids, names)

    def get(self, name_or_id: str) -> ExperimentRecord:
        """Raises UnknownExperimentError where neither a name nor an id is like that."""
        with self._database.read() as connection:
            found = records.get_by_name(connection, name_or_id) or records.get(connection, name_or_id)
            if found is None:
                names = [record.name for record in records.list_all(connection)]
                raise UnknownExperimentError(
                    f"There is no experiment {name_or_id!r}. This workspace has: {', '.join(names) or 'none'}."
                )
            return found

    def list(self, view: str = "active") -> Sequence[ExperimentRecord]:
        """Experiments, oldest first; ``view`` is "active", "archived" or "all"."""
        with self._database.read() as connection:
            found = records.list_all(connection)
        if view == "all":
            return found
        return [record for record in found if (record.archived_at is not None) == (view == "archived")]

    def tallies(self) -> Mapping[str, Tally]:
        """How many runs each experiment has, by its id; one without runs is not among them."""
        with self._database.read() as connection:
            return run_records.tallies(connection)

    def change(self, name_or_id: str, changes: ExperimentChanges) -> ExperimentRecord:
        """Tags, archives, restores or renames."""
        record = self.get(name_or_id)
        values: dict[str, Any] = {}
        if changes.tags or changes.remove_tags:
            kept = {key: value for key, value in record.tags.items() if key not in (changes.remove_tags or [])}
            values["tags"] = {**kept, **(changes.tags or {})}
        if changes.archived is not None:
            values["archived_at"] = self._clock.now() if changes.archived else None
        if changes.name is not None and changes.name != record.name:
            check_experiment_name(changes.name)
            values["name"] = changes.name
        if values:
            values["changed_at"] = self._clock.now()
            with self._database.write() as connection:
                if "name" in values and records.get_by_name(connection, values["name"]) is not None:
                    raise ExperimentException(f"An experiment named {values['name']!r} is here already.")
                records.change(connection, record.id, values)
        return self.get(record.id)

    def delete(self, name_or_id: str) -> None:
        """Deletes an experiment that holds no runs.

        Raises:
            ExperimentException: it has runs; archiving is what hides those.
        """
        record = self.get(name_or_id)
        with self._database.write() as connection:
            wanted = run_records.RunFilter(experiment=record.name, include_children=True, limit=1)
            if run_records.list_matching(connection, wanted):
                raise ExperimentException(
                    f"Experiment {record.name!r} has runs, and those are never deleted by the way. "
                    f"Archive it instead: experiment.archive()."
                )
            records.remove(connection, record.id)
