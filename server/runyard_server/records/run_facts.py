"""Rows by which runs are found and sorted: their tags, properties, arguments and data sets, and the words in them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, insert, select, update

from runyard.protocol.runs import RunRecord
from runyard_server.domain import dataset_inputs
from runyard_server.domain.filters.tree import Source
from runyard_server.domain.run_arguments import PARAMETER, number, of_run
from runyard_server.records import upserts
from runyard_server.records.tables import run_facts, run_words

# The columns of a run that these rows repeat.
STATED_IN = frozenset({"tags", "properties", "display_name"})
LONGEST_NAME, LONGEST_VALUE = 255, 250  # what an index takes of each
FEW = 1000  # runs that are looked up one by one
LONGEST_WORDS = 4000  # of one run, in letters
DATASET = "dataset"  # the source of what a run's data sets are found by

_NEW_FACT, _NEW_WORDS = insert(run_facts), insert(run_words)
_KEY = (run_facts.c.source, run_facts.c.name)


def put(connection: Connection, run: RunRecord, anew: bool = False) -> None:
    """Writes what ``run`` is found by. ``anew``: in the place of what was written before; what is the same stays."""
    facts = of(run.id, run.created_at, run.tags, run.properties, told(run))
    said = words(run.id, run.display_name, run.experiment, run.tags, told(run))
    if anew:
        _replace(connection, run.id, facts, said)
        return
    if facts:
        connection.execute(_NEW_FACT, facts)
    connection.execute(_NEW_WORDS, {"run_id": run.id, "words": said})


def _replace(connection: Connection, run_id: str, facts: Sequence[Mapping[str, Any]], said: str) -> None:
    own = run_facts.c.run_id == run_id
    rows = connection.execute(select(*_KEY, run_facts.c.value, run_facts.c.number).where(own))
    known = {(row.source, row.name): (row.value, row.number) for row in rows}
    wanted = {(fact["source"], fact["name"]): fact for fact in facts}
    for source, name in known.keys() - wanted.keys():
        connection.execute(delete(run_facts).where(own, run_facts.c.source == source, run_facts.c.name == name))
    changed = [fact for key, fact in wanted.items() if known.get(key) != (fact["value"], fact["number"])]
    upserts.put(connection, run_facts, changed)
    changes = run_words.c.words != said
    connection.execute(update(run_words).where(run_words.c.run_id == run_id, changes).values(words=said))


def stating(source: Source, name: str, value: str | None) -> tuple[ColumnElement[bool], ...]:
    """Which of these rows say that a run has the name with the value, or with any value where it is None.

    What is cut in them may say so of a run that has another value with the same beginning: see ``is_cut``.
    """
    here = (run_facts.c.source == source.value, run_facts.c.name == _storable(name)[:LONGEST_NAME])
    return here if value is None else (*here, run_facts.c.value == value_in_facts(value))


def value_in_facts(value: str) -> str:
    """A value as these rows have it."""
    return _storable(value)[:LONGEST_VALUE]


def attribute_in_facts(attribute: str, text: str) -> str:
    """The name under which these rows have a text of a data set; with no text, what all of that attribute begin with."""
    return _storable(f"{attribute}:{text}")[:LONGEST_NAME]


def is_cut(name: str, value: str | None) -> bool:
    """Whether these rows have only the beginning of it."""
    return len(name) >= LONGEST_NAME or len(value or "") >= LONGEST_VALUE


def few(connection: Connection, stated: tuple[ColumnElement[bool], ...]) -> list[str] | None:
    """The runs of which rows say so, where these are few."""
    return fewer(connection, select(run_facts.c.run_id).where(*stated), None)


def fewer(connection: Connection, ids: Select[Any], best: list[str] | None) -> list[str] | None:
    """The runs whose ids a query gives, where these are few, and fewer than the best ones so far; else those."""
    found = list(connection.execute(ids.limit(FEW + 1)).scalars())
    return found if len(found) <= FEW and (best is None or len(found) < len(best)) else best


def told(run: RunRecord) -> Sequence[str]:
    """The arguments of the run's script, or its whole command."""
    return run.spec.arguments or run.spec.command if run.spec else []


def of(
    run_id: str, created_at: float, tags: Mapping[str, Any], properties: Mapping[str, Any], arguments: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows of one run."""
    stated = {
        Source.TAG: tags,
        Source.PROPERTY: {key: value for key, value in properties.items() if not key.startswith(PARAMETER)},
        Source.ARGUMENT: of_run(arguments, properties),
    }
    datasets = {attribute_in_facts(key, text): text for key, text in dataset_inputs.texts(properties)}
    return [
        {
            "run_id": run_id,
            "source": source,
            "name": name[:LONGEST_NAME],
            "value": text[:LONGEST_VALUE],
            "number": number(text),
            "created_at": created_at,
        }
        for source, pairs in [*((source.value, pairs) for source, pairs in stated.items()), (DATASET, datasets)]
        for name, text in _unlike(pairs).items()
    ]


def _unlike(pairs: Mapping[str, Any]) -> dict[str, str]:
    """Texts by names that are not the same where they are cut."""
    return {_storable(name)[:LONGEST_NAME]: _storable(str(value)) for name, value in pairs.items() if value is not None}


def words(
    run_id: str, display_name: str | None, experiment: str, tags: Mapping[str, Any], arguments: Sequence[str]
) -> str:
    """What a search for words looks through, one of them a line."""
    said = [run_id, display_name or "", experiment]
    said += [f"{key} {value or ''}" for key, value in tags.items()]
    said.append(" ".join(str(argument) for argument in arguments))
    return _storable("\n".join(said).lower()[:LONGEST_WORDS])


def _storable(text: str) -> str:
    """PostgreSQL takes no NUL in a text."""
    return text.replace("\x00", " ")
