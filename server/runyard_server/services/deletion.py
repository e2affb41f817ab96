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
from runyard_server.services.given_runs import GivenRuns
from runyard_server.services.hub import Hub

_SHOWN = 10
_MOST_MODELS = 1000


class DeletionService:
    """Deletes runs.

    Args:
        clear: removes what lies in folders of a run. It is done after the records are gone and may be done twice: a
            server that is killed between does it at its next start.
    """

    def __init__(
        self, database: Database, clock: Clock, hub: Hub, given: GivenRuns, clear: Callable[[str], None]
    ) -> None:
        self._database = database
        self._given = given
        self._clock = clock
        self._hub = hub
        self._clear = clear

    def delete(
        self,
        run_id: str,
        by: str,
        keep_models: bool = False,
        with_logged_models: bool = False,
        reason: str = "",
        check: Callable[[Connection], None] | None = None,
    ) -> Sequence[DeletedRun]:
        """Deletes a run that has ended, and all runs below it.

        Args:
            keep_models: registered models of these runs stay, whole, though the run that made them is gone.
            with_logged_models: models that these runs logged with MLflow go too. They are runs below them, with files
                of their own that nothing else keeps.
            reason: what is kept of why it was; default: that somebody asked for it.
            check: raises RunException where something else keeps the run, as it is at this moment.
        Raises:
            UnknownRunError: no such run.
            RunException: it or one below it goes on, or is needed: by models unless ``keep_models``, or by a run that
                has not ended; or a logged model would go unsaid. Says which, and what to do.
        """
        with self._database.write() as connection:
            family = _family(connection, records.get(connection, run_id, lock=True))
            if check is not None:
                check(connection)
            _check_ended(family)
            self._check_unused(connection, family)
            if not keep_models:
                _check_models(connection, family)
            if not with_logged_models:
                _check_logged_models(family)
            now = self._clock.now()
            why = reason or f"asked for by {by}"
            gone = [deleted_runs.add(connection, record, now, by, why) for record in family]
            for record in family:
                records.remove(connection, record.id)
        for record in family:
            self._clear(record.id)
            self._hub.publish(record.id)
        return gone

    def _check_unused(self, connection: Connection, family: Sequence[RunRecord]) -> None:
        """No run that has not ended may lose what it was given. Ended ones keep the id, by which it is known what was."""
        users = self._given.users(connection)
        given = {record.id: users[record.id] for record in family if record.id in users}
        if given:
            user = records.get(connection, next(iter(given.values())))
            its = sorted(run_id for run_id, by in given.items() if by == user.id)
            raise RunException(
                f"The run {user.id} is {user.status.value} and was given files of {_some(its)}. Wait for its end, or "
                f"cancel it first: runyard run cancel {user.id}"
            )

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
