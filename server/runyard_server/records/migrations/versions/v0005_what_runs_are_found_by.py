"""Tags, properties and arguments of runs as rows, so that lists by them read no more than they show"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_JSON = sa.JSON().with_variant(JSONB(), "postgresql")
_AT_ONCE = 500
_OPTION = re.compile(r"-{1,2}([A-Za-z_][\w.-]*)(?:=(.*))?", re.DOTALL)
_PAIR = re.compile(r"\+{0,2}([A-Za-z_][\w.]*)=(.*)", re.DOTALL)

_runs = sa.table(
    "runs",
    *(sa.column(name) for name in ("id", "experiment_id", "created_at", "display_name")),
    *(sa.column(name, _JSON) for name in ("spec", "tags", "properties")),
)
_experiments = sa.table("experiments", sa.column("id"), sa.column("name"))
_facts = sa.table(
    "run_facts", *(sa.column(name) for name in ("run_id", "source", "name", "value", "number", "created_at"))
)
_words = sa.table("run_words", sa.column("run_id"), sa.column("words"))


def upgrade() -> None:
    op.create_table(
        "run_facts",
        sa.Column("run_id", sa.String(300), nullable=False),
        sa.Column("source", sa.String(8), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("value", sa.String(250), nullable=False),
        sa.Column("number", sa.Float(53)),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_facts_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "source", "name", name=op.f("pk_run_facts")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "run_words",
        sa.Column("run_id", sa.String(300), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_words_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run_words")),
        sqlite_with_rowid=False,
    )
    _fill(op.get_bind())
    by_value = op.f("ix_run_facts_source_name_value_created_at_run_id")
    op.create_index(by_value, "run_facts", ["source", "name", "value", "created_at", "run_id"])
    op.create_index(op.f("ix_run_facts_source_name_number_run_id"), "run_facts", ["source", "name", "number", "run_id"])


def _fill(connection: sa.Connection) -> None:
    query = (
        sa.select(_runs, _experiments.c.name.label("experiment"))
        .join(_experiments, _experiments.c.id == _runs.c.experiment_id)
        .order_by(_runs.c.id)
        .limit(_AT_ONCE)
    )
    last = ""
    while rows := connection.execute(query.where(_runs.c.id > last)).mappings().all():
        facts = [fact for row in rows for fact in _facts_of(row)]
        if facts:
            connection.execute(sa.insert(_facts), facts)
        connection.execute(sa.insert(_words), [{"run_id": row["id"], "words": _words_of(row)} for row in rows])
        last = rows[-1]["id"]


def _facts_of(row: Any) -> Iterator[dict[str, Any]]:
    stated = {"tag": row["tags"], "property": row["properties"], "argument": _named(_arguments(row))}
    for source, pairs in stated.items():
        known = {_clean(name)[:255]: _clean(str(value)) for name, value in pairs.items() if value is not None}
        for name, text in known.items():
            fact = {"run_id": row["id"], "source": source, "name": name, "value": text[:250]}
            yield {**fact, "number": _number(text), "created_at": row["created_at"]}


def _words_of(row: Any) -> str:
    said = [row["id"], row["display_name"] or "", row["experiment"]]
    said += [f"{key} {value or ''}" for key, value in row["tags"].items()]
    said.append(" ".join(str(argument) for argument in _arguments(row)))
    return _clean("\n".join(said).lower()[:4000])


def _arguments(row: Any) -> Sequence[str]:
    spec = row["spec"] or {}
    return spec.get("arguments") or spec.get("command") or []


def _named(arguments: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    place = 0
    while place < len(arguments):
        said = str(arguments[place])
        place += 1
        option = _OPTION.fullmatch(said)
        if option is None:
            pair = _PAIR.fullmatch(said)
            if pair is not None:
                found[pair[1]] = pair[2]
            continue
        value = option[2]
        if value is None:
            following = str(arguments[place]) if place < len(arguments) else None
            if following is None or _OPTION.fullmatch(following):
                value = "true"
            else:
                value, place = following, place + 1
        found[option[1]] = value
    return found


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def _clean(text: str) -> str:
    return text.replace("\x00", " ")
