"""Which runs' files were given to runs that have not ended: neither a person nor a rule may take those away."""

import threading
from collections.abc import Mapping

from sqlalchemy import Connection

from runyard_server.records import runs as records


class GivenRuns:
    """Answers as of the transaction in which it is asked.

    What a run was given stands in its spec, which nobody changes. So each spec is read once, and for each run that is to
    go only the ids of those that have not ended are asked for.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids = ""
        self._given: dict[str, frozenset[str]] = {}  # by the run that has not ended
        self._users: dict[str, str] = {}

    def users(self, connection: Connection) -> Mapping[str, str]:
        """The runs whose files were given, and of each a run that has not ended and has them."""
        ids = records.unfinished_ids(connection)
        with self._lock:
            if ids == self._ids:
                return self._users
            known = self._given
        unfinished = ids.splitlines()
        read = {
            record.id: frozenset(
                reference.run
                for reference in (record.spec.data_references if record.spec else ())
                if reference.run is not None
            )
            for record in records.get_many(connection, [run_id for run_id in unfinished if run_id not in known])
        }
        given = {run_id: known[run_id] if run_id in known else read.get(run_id, frozenset()) for run_id in unfinished}
        users = {of: run_id for run_id, all_given in given.items() for of in all_given}
        with self._lock:
            self._ids, self._given, self._users = ids, given, users
        return users
