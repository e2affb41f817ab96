"""The data sets that runs read, as MLflow's clients say it: runs are found by them"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_AT_ONCE = 500
_PREFIX, _CONTEXT = "mlflow.dataset.", "mlflow.data.context"
_runs = sa.table("runs", sa.column("id"), sa.column("properties", sa.JSON()), sa.column("created_at"))
_facts = sa.table(
    "run_facts",
    sa.column("run_id"),
    sa.column("source"),
    sa.column("name"),
    sa.column("value"),
    sa.column("number"),
    sa.column("created_at"),
)


def upgrade() -> None:
    connection = op.get_bind()
    stated = sa.exists().where(
        _facts.c.run_id == _runs.c.id,
        _facts.c.source == "property",
        _facts.c.name.startswith(_PREFIX, autoescape=True),
    )
    query = sa.select(_runs).where(stated).order_by(_runs.c.id).limit(_AT_ONCE)
    last = ""
    while rows := connection.execute(query.where(_runs.c.id > last)).mappings().all():
        facts = [fact for row in rows for fact in _facts_of(row)]
        if facts:
            connection.execute(sa.insert(_facts), facts)
        last = rows[-1]["id"]


def _facts_of(row: Any) -> Iterator[dict[str, Any]]:
    named: dict[str, str] = {}
    for key, value in row["properties"].items():
        for attribute, text in _texts(value) if key.startswith(_PREFIX) else ():
            clean = text.replace("\x00", " ")
            named[f"{attribute}:{clean}"[:255]] = clean[:250]
    for name, value in named.items():
        yield {
            "run_id": row["id"],
            "source": "dataset",
            "name": name,
            "value": value,
            "number": None,
            "created_at": row["created_at"],
        }


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    try:
        said = json.loads(str(value))
    except (ValueError, RecursionError):
        return
    dataset = said.get("dataset") if isinstance(said, dict) else None
    if not isinstance(dataset, dict):
        return
    for key in ("name", "digest"):
        if key in dataset:
            yield key, str(dataset[key])
    tags = said.get("tags")
    for tag in tags if isinstance(tags, list) else ():
        if isinstance(tag, dict) and tag.get("key") == _CONTEXT:
            yield "context", str(tag.get("value", ""))
