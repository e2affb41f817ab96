"""Deleting runs: what is of them alone goes, what others need stays, and that they were is kept."""

import builtins
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from runyard.errors import RunException, UserErrorException
from runyard.protocol.runs import DeletedRun, RunRecord
from runyard_server.domain.clock import Clock
from runyard_server.domain.run_types import LOGGED_MODEL
from runyard_server.records import deleted_runs
from runyard_server.records import models as model_records
from runyard_server.records import runs as records
from runyard_server.records.engine import Database
from runyard_server.services.hub import Hub

_SHOWN = 10
_MOST_MODELS = 1000


class DeletionService:
    """Deletes runs.

    Args:
        clear: removes what lies in folders of a run. It is done after the records are gone and may be done twice: a
            server that is killed between does it at its next start.
    """

    def __init__(self, database: Database, clock: Clock, hub: Hub, clear: Callable[[str], None]) -> None:
        self._database = database
        self._clock = clock
        self._hub = hub
        self._clear = clear

    def delete(
        self,
        run_id: str,
        by: str,
        keep_models: bool = False,
        with_logged_models: bool = False,
    ) -> Sequence[DeletedRun]:
        """Deletes a run that has ended, and all runs below it.

        Args:
            keep_models: registered models of these runs stay, whole, though the run that made them is gone.
            with_logged_models: models that these runs logged with MLflow go too. They are runs below them, with files
                of their own that nothing else keeps.
        Raises:
            UnknownRunError: no such run.
            RunException: it or one below it goes on, or is needed: by models unless ``keep_models``, or by a run that
                has not ended; or a logged model would go unsaid. Says which, and what to do.
        """
        with self._database.write() as connection:
            family = _family(connection, records.get(connection, run_id, lock=True))
            _check_ended(family)
            _check_unused(connection, family)
            if not keep_models:
                _check_models(connection, family)
            if not with_logged_models:
                _check_logged_models(family)
            now = self._clock.now()
            gone = [deleted_runs.add(connection, record, now, by, f"asked for by {by}") for record in family]
            for record in family:
                records.remove(connection, record.id)
        for record in family:
            self._clear(record.id)
            self._hub.publish(record.id)
        return gone

    def list(self, limit: int, before: str | None = None) -> Sequence[DeletedRun]:
        """Runs that were deleted, the last one first; ``before``: the id of one, for the next page.

        Raises:
            UserErrorException: no run of the id ``before`` was deleted.
        """
        with self._database.read() as connection:
            last = None
            if before is not None:
                last = deleted_runs.find(connection, before)
                if last is None:
                    raise UserErrorException(f"No run {before[:300]!r} was deleted. Give the last id of a page.")
            return deleted_runs.newest(connection, limit, last)


def _family(connection: Connection, record: RunRecord) -> builtins.list[RunRecord]:
    """The run and all below it, those above first."""
    found = [record]
    for each in found:
        found += [records.get(connection, child, lock=True) for child in records.children_of(connection, each.id)]
    return found


def _check_ended(family: Sequence[RunRecord]) -> None:
    going_on = [record for record in family if not record.status.is_terminal]
    if going_on:
        raise RunException(
            f"{_some([f'{record.id} ({record.status.value})' for record in going_on])} has not ended, and only runs that "
            f"have ended are deleted. Wait for its end, or cancel it first: runyard run cancel {going_on[0].id}"
        )


def _check_unused(connection: Connection, family: Sequence[RunRecord]) -> None:
    """No run that has not ended may lose what it was given. Ended ones keep the id, by which it is known what was."""
    ids = {record.id for record in family}
    unfinished = [run_id for run_id, _ in records.unfinished_versions(connection)]
    for record in records.get_many(connection, unfinished):
        given = {reference.run for reference in record.spec.data_references} if record.spec else set()
        if ids & given:
            raise RunException(
                f"The run {record.id} is {record.status.value} and was given files of {_some(sorted(ids & given))}. Wait "
                f"for its end, or cancel it first: runyard run cancel {record.id}"
            )


def _check_models(connection: Connection, family: Sequence[RunRecord]) -> None:
    for record in family:
        wanted = model_records.ModelFilter(run_id=record.id, limit=_MOST_MODELS)
        found = [model.id for model in model_records.list_matching(connection, wanted)]
        if found:
            raise RunException(
                f"The run {record.id} made the models {_some(found)}. Delete those first, archive the run instead, or keep "
                "them without it (keep_models=True, --keep-models): their files stay whole."
            )


def _check_logged_models(family: Sequence[RunRecord]) -> None:
    """Who asks for a run, or for a logged model itself, may not know what else hangs below it."""
    found = [each for each in family[1:] if each.type == LOGGED_MODEL and each.archived_at is None]
    if found:
        raise RunException(
            f"The run {family[0].id} logged models with MLflow: {_some([_shown(each) for each in found])}. They and their "
            "files would go with it. Archive the run instead, or say that they may go (with_logged_models=True, "
            "--with-logged-models)."
        )


def _shown(record: RunRecord) -> str:
    name = record.display_name
    return f"{record.id} ({name})" if name and name != record.id else record.id


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
