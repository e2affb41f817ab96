"""Which runyard served a home last: told by a file of its own, so that an older one need not touch the records."""

from pathlib import Path

from runyard import home as places
from runyard.errors import ServiceException
from runyard.protocol.version import VERSION
from runyard_server.records.migrate import SHIPPED, Migrations

FILE = "version.json"


def refuse_newer(home: Path, migrations: Migrations = SHIPPED) -> None:
    """Changes nothing on the disk.

    Raises:
        ServiceException: the home's records have a version that this server does not know; says who made it.
    """
    said = places.read_json(str(home / FILE))
    records = None if said is None else str(said.get("records"))
    if said is None or records in migrations.versions:
        return
    older = [version for version in migrations.versions if (home / f"records.{version}.db").exists()]
    way_back = ""
    if older:
        way_back = (
            f" Or go back to the records as they were before the upgrade: records.{older[-1]}.db is their copy, to be put "
            f"in the place of records.db (without records.db-wal and -shm), and {FILE} removed; what was recorded since "
            "is in records.db alone."
        )
    raise ServiceException(
        f"The workspace in {home} was served by runyard {said.get('runyard')}, which is newer than this {VERSION}: its "
        f"records have version {records}, this server knows up to {migrations.head}. Nothing was changed. Install "
        f"runyard-server {said.get('runyard')} or newer.{way_back}"
    )


def note(home: Path, migrations: Migrations = SHIPPED) -> None:
    """Writes down who serves the home now; costs one small file where that is so already."""
    says = {"runyard": VERSION, "records": migrations.head}
    if places.read_json(str(home / FILE)) != says:
        places.write_json(str(home / FILE), says)
