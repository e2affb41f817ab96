"""The database: how it is opened, and the two ways to use it (``read`` and ``write``)."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from runyard.errors import ServiceException

_MIGRATION_LOCK = 0x72756E79617264  # "runyard": PostgreSQL's advisory locks are numbers


class Database:
    """One database, SQLite or PostgreSQL.

    SQLite runs in WAL mode with one writer at a time: ``write`` holds a lock, so that writers of
    this process wait for each other instead of failing with "database is locked".
    Never do network calls or long work inside either block.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self._writing: threading.Lock | None = threading.Lock() if self.is_sqlite else None
        if self.is_sqlite:
            self.engine = create_engine(
                url, connect_args={"timeout": 30, "check_same_thread": False}, poolclass=NullPool
            )
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            self.engine = create_engine(url, pool_size=20, max_overflow=20, pool_pre_ping=True)
        self._writer = self.engine.execution_options(runyard_write=True)  # the same pool
        self._readers, self._writers = Kept(self.engine), Kept(self._writer)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading; sees one consistent state."""
        if self._writing is None:
            with self.engine.connect() as connection:
                yield connection
            return
        with self._readers.one() as connection:
            try:
                yield connection
            finally:
                connection.rollback()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: committed at the end of the block, rolled back when it raises."""
        if self._writing is None:
            with self.engine.begin() as connection:
                yield connection
            return
        with self._writing, self._writers.one() as connection, connection.begin():
            yield connection

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A transaction that may change tables: the only one of its kind at a time, in all processes."""
        if self._writing is None:
            with self.engine.begin() as connection:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                yield connection
            return
        with self._writing, self._writer.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            # SQLite changes a table by making it anew: with the old one, what refers to its rows would be deleted too.
            driver.execute("PRAGMA foreign_keys=OFF")
            try:
                with connection.begin():
                    yield connection
                    lost = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
                    if lost is not None:
                        raise ServiceException(
                            f"The migration would leave a row of {lost[0]} that refers to none of {lost[2]}; "
                            "nothing was changed."
                        )
            finally:
                driver.execute("PRAGMA foreign_keys=ON")

    def check(self) -> None:
        """Raises the driver's error where the database cannot be reached."""
        with self.read() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        self._readers.close()
        self._writers.close()
        self.engine.dispose()


# Each holds up to 1 MB of pages; a crowd that has gone leaves no more behind.
MOST_KEPT = 8


class Kept:
    """Connections to a SQLite file that stay open between transactions.

    A pool of SQLAlchemy gives and takes back what it makes anew around the driver's connection each time, which takes
    several times as long as a transaction.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Last in, first out: as many connections are warm as are used at once, not all that ever were.
        self._idle: list[Connection] = []

    @contextmanager
    def one(self) -> Iterator[Connection]:
        """A connection that nobody else has meanwhile; without a transaction before and after."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._engine.connect()
        try:
            yield connection
        except DBAPIError:
            connection.close()  # what became of its transaction is not known
            raise
        finally:
            is_unsound = connection.closed or connection.in_transaction() or connection.invalidated
            if is_unsound or len(self._idle) >= MOST_KEPT:
                connection.close()
            else:
                self._idle.append(connection)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


def _prepare_sqlite(connection, _record) -> None:  # type: ignore[no-untyped-def]
    connection.isolation_level = None  # we begin transactions ourselves, see _begin_sqlite
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    # KiB for each connection, of which there may be dozens; what is in the system's own cache is read in microseconds.
    cursor.execute("PRAGMA cache_size=-1000")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("runyard_write", False)
    # IMMEDIATE takes the write lock at once: a transaction that reads first cannot find it taken later.
    statement = "BEGIN IMMEDIATE" if writes else "BEGIN"
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    try:
        driver.execute(statement)  # past SQLAlchemy, whose way takes longer than SQLite's
    except sqlite3.Error as fault:
        raise DBAPIError.instance(statement, None, fault, sqlite3.Error, dialect=connection.dialect) from fault


def create_all(engine: Engine) -> None:
    """Creates every table at once: for tests; servers migrate instead."""
    from runyard_server.records.tables import metadata

    metadata.create_all(engine)
