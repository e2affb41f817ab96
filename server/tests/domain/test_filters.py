"""The language of filters: what it reads, what it refuses and where, and that its work is bounded."""

import time

import pytest

from runyard.errors import UserErrorException
from runyard_server.domain.filters.parser import DEEPEST, LONGEST_LIST, MOST, parse, parse_field
from runyard_server.domain.filters.tokens import LONGEST
from runyard_server.domain.filters.tree import (
    EVERYTHING,
    All,
    Any,
    Comparison,
    Field,
    FilterError,
    Kind,
    Membership,
    Not,
    NotANumber,
    Pattern,
    Presence,
    Source,
    Words,
)

STATUS = Field(Source.COLUMN, "status", Kind.TEXT)
NAME = Field(Source.COLUMN, "name", Kind.TEXT)
AGE = Field(Source.COLUMN, "age", Kind.DURATION)
SUBMITTED = Field(Source.COLUMN, "submitted", Kind.TIME)
LOSS = Field(Source.METRIC, "loss", Kind.NUMBER)
TEAM = Field(Source.TAG, "team", Kind.ANY)
LR = Field(Source.ARGUMENT, "lr", Kind.ANY)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", EVERYTHING),
        ("  ", EVERYTHING),
        ("status = completed", Comparison(STATUS, "=", "Completed")),
        ("attributes.status = 'FINISHED'", Comparison(STATUS, "=", "Completed")),
        ("metrics.loss < 1e-3", Comparison(LOSS, "<", 0.001)),
        ("metrics.loss = -inf", Comparison(LOSS, "=", float("-inf"))),
        ("min(metrics.loss) <= 1", Comparison(Field(Source.METRIC, "loss", Kind.NUMBER, "min"), "<=", 1.0)),
        ("isnan(metrics.loss)", NotANumber(LOSS)),
        ("metrics.loss is not nan", Not(NotANumber(LOSS))),
        ('tags.team = "a ""b"""', Comparison(TEAM, "=", 'a "b"')),
        ("tags.`team` <> 'it''s'", Comparison(TEAM, "!=", "it's")),
        ("params.lr = 0.1", Comparison(LR, "=", 0.1)),
        ("arguments.--lr = '0.1'", Comparison(LR, "=", "0.1")),
        ("lr_decay", Words("lr_decay")),
        ("train.py", Words("train.py")),
        ("age < 7d", Comparison(AGE, "<", 604800.0)),
        ("submitted > 2026-01-01", Comparison(SUBMITTED, ">", 1767225600.0)),
        ('submitted > "2026-01-01 01:00"', Comparison(SUBMITTED, ">", 1767229200.0)),
        ("tags.team in (a, 'b', 3)", Membership(TEAM, ("a", "b", 3.0))),
        ("tags.team not in (a)", Not(Membership(TEAM, ("a",)))),
        ("tags.team is not null", Presence(TEAM)),
        ("name like 'res%'", Pattern(NAME, "res%")),
        ("name contains '50%_'", Pattern(NAME, "%50\\%\\_%")),
        ("name ~ net", Pattern(NAME, "%net%")),
        ("net tags.team = a", All((Words("net"), Comparison(TEAM, "=", "a")))),
        ("(a or b) and not c", All((Any((Words("a"), Words("b"))), Not(Words("c"))))),
        ("a or b and c", Any((Words("a"), All((Words("b"), Words("c")))))),
    ],
)
def test_a_filter_says_what_it_reads_like(text: str, tree: object) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("statuss = 1", 1, "Did you mean 'status'"),
        ("status = Done", 10, "There are: NotStarted"),
        ("status < Failed", 10, "no order"),
        ("metrics.loss < low", 16, "a number"),
        ("metrics.loss = nan", 16, "isnan"),
        ("metrics < 1", 1, "metrics.NAME"),
        ("metric.loss contains 1", 22, "is a number"),
        ("submitted > soon", 13, "2026-01-31"),
        ("age < soon", 7, "7d"),
        ("(a", 3, "')'"),
        ("a)", 2, '"and", "or" or the end'),
        ("a and", 6, "the name of a field"),
        ('name = "a', 8, "never closed"),
        ("name = $", 8, "has no meaning"),
        ("name =", 7, "was expected"),
        ("wrong.loss = 1", 1, "metrics.NAME"),
        ("isnan(tags.a)", 7, "only a metric"),
        ("max(tags.a) = 1", 1, "of a metric alone"),
        ("''", 1, "empty"),
        ("name = 'a\x00'", 8, "NUL"),
    ],
)
def test_a_wrong_filter_says_where_and_what_is_allowed(text: str, column: int, says: str) -> None:
    with pytest.raises(FilterError) as refused:
        parse(text)
    assert refused.value.details == {"column": column}
    assert says in refused.value.message
    assert isinstance(refused.value, UserErrorException)


@pytest.mark.parametrize(
    "text",
    [
        "a" * (LONGEST + 1),
        f"name = '{'a' * 201}'",
        "(" * (DEEPEST + 1) + "a" + ")" * (DEEPEST + 1),
        "not " * (DEEPEST + 1) + "a",
        "a " * (MOST + 1),
        f"name in ({','.join(['a'] * (LONGEST_LIST + 1))})",
    ],
    ids=["length", "text", "depth", "nots", "conditions", "list"],
)
def test_a_filter_has_bounds(text: str) -> None:
    with pytest.raises(FilterError):
        parse(text)


@pytest.mark.parametrize(
    "attack",
    [
        "().__class__.__mro__[1].__subclasses__()",
        "__import__('os').system('id')",
        "status = 'Completed'; drop table runs",
        "1 = 1 or 1 = 1 --",
        "run.metrics['loss'] < 1",
        "lambda x: eval(x)",
        "name = ${7*7}",
    ],
)
def test_code_is_no_filter(attack: str) -> None:
    with pytest.raises(FilterError):
        parse(attack)


@pytest.mark.parametrize("piece", ["'", "a.", "((", "1.", "not ", "metrics.`", "- ", "inf", "=", ",", "\\"])
def test_reading_a_long_filter_takes_no_long_time(piece: str) -> None:
    before = time.process_time()
    try:
        parse(piece * (LONGEST // len(piece)))
    except FilterError:
        pass
    assert time.process_time() - before < 2


def test_one_field_is_read_alone() -> None:
    assert parse_field("max(metrics.`val loss`)") == Field(Source.METRIC, "val loss", Kind.NUMBER, "max")
    assert parse_field("created_at") == SUBMITTED
    with pytest.raises(FilterError):
        parse_field("name desc")
