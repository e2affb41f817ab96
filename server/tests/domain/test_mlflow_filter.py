"""MLflow's filter grammar: what it takes, what it refuses, and that any text is one of both, soon."""

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runyard_server.domain.mlflow_filter import (
    LONGEST,
    Comparison,
    FilterError,
    holds,
    is_like,
    ordered,
    parse,
    parse_order,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("metrics.loss < 0.1", [Comparison("metric", "loss", "<", 0.1)]),
        ("metric.loss<=-1e-3", [Comparison("metric", "loss", "<=", -0.001)]),
        ("params.lr = '0.1'", [Comparison("parameter", "lr", "=", "0.1")]),
        ('tags."my key" != "a b"', [Comparison("tag", "my key", "!=", "a b")]),
        ("tags.`my key` like 'a%'", [Comparison("tag", "my key", "LIKE", "a%")]),
        ("tag.mlflow.source.name ILIKE 'x'", [Comparison("tag", "mlflow.source.name", "ILIKE", "x")]),
        ("run_id IN ('a', 'b')", [Comparison("attribute", "run_id", "IN", ("a", "b"))]),
        ("attr.status NOT IN ('FAILED')", [Comparison("attribute", "status", "NOT IN", ("FAILED",))]),
        ("params.x is null", [Comparison("parameter", "x", "IS NULL")]),
        ("params.x IS NOT NULL", [Comparison("parameter", "x", "IS NOT NULL")]),
        (
            "metrics.a > 1 and name = 'it''s'",
            [Comparison("metric", "a", ">", 1), Comparison("attribute", "name", "=", "it's")],
        ),
    ],
)
def test_what_the_grammar_has_is_read(text: str, expected: list[Comparison]) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "metrics.loss",
        "metrics.loss <",
        "= 1",
        "foo.bar = 'x'",
        "metrics.a = 1 OR metrics.b = 1",
        "metrics.a = 1; DROP TABLE runs",
        "().__class__.__mro__[1].__subclasses__() = 'x'",
        "__import__('os').system('id')",
        "tags.a = 'x' AND",
        "tags.a IN (1, 2)",
        "tags.a IN ('x'",
        "tags.a = 'x",
        "tags.a BETWEEN 1 AND 2",
        "a" * (LONGEST + 1),
        " AND ".join(["a = 1"] * 101),
    ],
    ids=lambda text: text[:30],
)
def test_what_it_has_not_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(FilterError):
        parse(text)


@settings(max_examples=300, derandomize=True, deadline=None)
@example("'" * 20_000)
@example("a" * 20_000)
@example("(" * 20_000)
@example("tags.a = '" + "''" * 9_000)
@given(st.text(st.sampled_from(list("ab.=<>!'\"`(), 019ANDINLIKEnotull-%_")), max_size=60) | st.text(max_size=60))
def test_any_text_is_comparisons_or_a_filter_error_soon(text: str) -> None:
    began = time.process_time()
    try:
        parse(text)
        parse_order(text)
    except FilterError:
        pass
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("abc", "abc", True),
        ("abc", "a%", True),
        ("abc", "%c", True),
        ("abc", "a_c", True),
        ("abc", "A%", False),
        ("abc", "", False),
        ("", "%", True),
        ("a%b", "a%b", True),
        ("xaybzc", "%a%b%c", True),
        ("xaybzc", "%a%c%b", False),
    ],
)
def test_like_is_sqls(text: str, pattern: str, expected: bool) -> None:
    assert is_like(text, pattern) is expected


def test_like_ignores_case_only_if_asked() -> None:
    assert is_like("ABC", "ab%", ignore_case=True)


def test_a_pattern_of_many_wildcards_is_matched_soon() -> None:
    began = time.process_time()
    assert not is_like("a" * 5_000, "%a" * 500 + "%b")
    assert time.process_time() - began < 10.0


def test_what_is_not_there_matches_is_null_alone() -> None:
    assert holds(Comparison("tag", "a", "IS NULL"), {})
    for sign in ("=", "!=", "LIKE", "<"):
        assert not holds(Comparison("tag", "a", sign, "x"), {})
    assert not holds(Comparison("tag", "a", "NOT IN", ("x",)), {})


def test_what_has_no_value_comes_last_in_either_direction() -> None:
    items = [3, None, 1]
    assert ordered(items, [(lambda item: item, True)]) == [1, 3, None]
    assert ordered(items, [(lambda item: item, False)]) == [3, 1, None]
    assert parse_order("metrics.loss DESC") == ("metric", "loss", False)
