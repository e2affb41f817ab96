"""Tokens to a tree, by recursive descent whose depth and size are bounded.

filter     := [either]
either     := both ("or" both)*
both       := one ("and"? one)*
one        := "not" one | "(" either ")" | words | condition
condition  := field sign value | field ["not"] "in" "(" value ("," value)* ")"
            | field ["not"] ("like" | "contains") text | field "is" ["not"] ("null" | "nan") | "isnan" "(" field ")"
field      := word | metrics.NAME | tags.KEY | arguments.NAME | properties.KEY | ("min" | "max" | "last") "(" field ")"
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from runyard.protocol.status import RunStatus
from runyard_server.domain.filters import fields
from runyard_server.domain.filters.tokens import Token, tokens
from runyard_server.domain.filters.tree import (
    EVERYTHING,
    All,
    Any,
    Comparison,
    Expression,
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

DEEPEST = 20  # parentheses and "not" within each other
MOST = 100  # conditions in one filter
LONGEST_LIST = 200  # values after "in"

_STATUSES = {status.value.lower(): status.value for status in RunStatus}
_MLFLOW_STATUSES = {"finished": "Completed", "killed": "Canceled", "scheduled": "Queued"}
_UNFINISHED = tuple(status.value for status in RunStatus if not status.is_terminal)
_ORDERED = ("<", "<=", ">", ">=")
_KEYWORDS = ("and", "or", "not", "in", "like", "ilike", "contains", "is")


def parse(text: str | None) -> Expression:
    """What a filter says; nothing said is everything.

    Raises:
        FilterError: says where it is wrong, and what is allowed there.
    """
    if not text or not text.strip():
        return EVERYTHING
    return _Parser(text).filter()


def parse_field(text: str) -> Field:
    """One field alone: what a table has as a column, or is sorted by.

    Raises:
        FilterError: there is no such field.
    """
    parser = _Parser(text)
    field = parser.field()
    parser.expect_end()
    return field


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(tokens(text))
        self._place = 0
        self._depth = 0
        self._count = 0

    def filter(self) -> Expression:
        found = self._either()
        self.expect_end()
        return found

    def expect_end(self) -> None:
        if self._next.kind != "end":
            raise self._fault('"and", "or" or the end was expected here.')

    # Steps

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    @property
    def _following(self) -> Token:
        return self._tokens[min(self._place + 1, len(self._tokens) - 1)]

    def _take(self) -> Token:
        token = self._next
        self._place = min(self._place + 1, len(self._tokens) - 1)
        return token

    def _take_word(self) -> Token:
        """The next token where a text may stand without quotes: "train.py" is no field then."""
        token = self._take()
        if token.kind == "field" and not fields.is_source(token.source):
            return replace(token, kind="word", text=f"{token.source}.{token.text}")
        return token

    def _is_word(self, *words: str) -> bool:
        return self._next.kind == "word" and self._next.text.lower() in words

    def _takes(self, *words: str) -> bool:
        if self._is_word(*words):
            self._take()
            return True
        return False

    def _is_mark(self, mark: str) -> bool:
        return self._next.kind == "mark" and self._next.text == mark

    def _takes_mark(self, mark: str) -> bool:
        if self._is_mark(mark):
            self._take()
            return True
        return False

    def _need_mark(self, mark: str) -> None:
        if not self._takes_mark(mark):
            raise self._fault(f"a {mark!r} was expected here.")

    def _fault(self, problem: str, token: Token | None = None) -> FilterError:
        return FilterError(self._text, (token or self._next).place, problem)

    def _deeper(self, inner: Callable[[], Expression]) -> Expression:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._fault(f'parentheses and "not" go {DEEPEST} deep, no more.')
        found = inner()
        self._depth -= 1
        return found

    # The grammar

    def _either(self) -> Expression:
        parts = [self._both()]
        while self._takes("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def _both(self) -> Expression:
        parts = [self._one()]
        while self._takes("and") or self._begins_another():
            parts.append(self._one())
        flat: list[Expression] = []
        for part in parts:
            flat += part.parts if isinstance(part, All) else (part,)
        return flat[0] if len(flat) == 1 else All(tuple(flat))

    def _begins_another(self) -> bool:
        """Two conditions side by side both hold, as with every search box."""
        begins = self._next.kind in ("field", "text", "number", "duration") or self._is_mark("(")
        return begins or (self._next.kind == "word" and not self._is_word("or", "in", "like", "contains", "is"))

    def _one(self) -> Expression:
        if self._takes("not"):
            return Not(self._deeper(self._one))
        if self._takes_mark("("):
            inner = self._deeper(self._either)
            self._need_mark(")")
            return inner
        self._count += 1
        if self._count > MOST:
            raise self._fault(f"a filter has at most {MOST} conditions.")
        if self._is_words():
            return self._words()
        return self._condition()

    def _is_words(self) -> bool:
        if self._next.kind in ("text", "number", "duration"):
            return True
        if self._is_word(*_KEYWORDS) or self._next.kind not in ("word", "field"):
            return False
        if self._next.kind == "field" and fields.is_source(self._next.source):
            return False
        after = self._following
        begins_condition = after.kind == "sign" or (after.kind == "mark" and after.text == "(")
        follows = after.kind == "word" and after.text.lower() in ("in", "like", "ilike", "contains", "is")
        negated = after.kind == "word" and after.text.lower() == "not" and fields.column(self._next.text) is not None
        return not (begins_condition or follows or negated)

    def _words(self) -> Expression:
        token = self._take_word()
        if not token.text.strip():
            raise self._fault("an empty text is in every run; write what is looked for.", token)
        return Words(token.text)

    def _condition(self) -> Expression:
        if self._is_word("isnan") and self._following.text == "(":
            self._take()
            self._need_mark("(")
            place = self._next
            field = self.field()
            self._need_mark(")")
            return self._nan(field, place)
        place = self._next
        field = self.field()
        if self._takes("is"):
            negated = self._takes("not")
            if self._takes("nan"):
                found: Expression = self._nan(field, place)
                return Not(found) if negated else found
            if not self._takes("null", "none"):
                raise self._fault('"null" or "nan" was expected after "is".')
            return Presence(field) if negated else Not(Presence(field))
        negated = self._takes("not")
        if self._takes("in"):
            found = Membership(field, self._list(field))
        elif self._takes("like", "ilike"):
            found = Pattern(field, self._pattern(field).replace("\\", "\\\\"))
        elif self._takes("contains"):
            found = Pattern(field, f"%{_plain(self._pattern(field))}%")
        elif negated:
            raise self._fault('"in", "like" or "contains" was expected after "not".')
        else:
            return self._compared(field)
        return Not(found) if negated else found

    def field(self, is_inner: bool = False) -> Field:
        """One field, here. ``is_inner``: within "min(", "max(" or "last(", which do not stand within each other."""
        token = self._take()
        if token.kind == "word" and token.text.lower() in fields.PARTS and self._takes_mark("("):
            if is_inner:
                raise self._fault(f"{token.text} is of a metric alone: {token.text}(metrics.loss).", token)
            inner = self.field(is_inner=True)
            self._need_mark(")")
            if inner.source is not Source.METRIC:
                raise self._fault(f"{token.text} is of a metric alone: {token.text}(metrics.loss).", token)
            return replace(inner, part=token.text.lower())
        if token.kind == "field":
            found = fields.keyed(token.source, token.text)
            if found is None:
                said = token.text if fields.is_source(token.source) else token.source
                raise self._fault(f"there is no {token.source}.{token.text}.{fields.known(said)}", token)
            return found
        if token.kind != "word":
            raise self._fault(f"the name of a field was expected here.{fields.known('')}", token)
        found = fields.column(token.text)
        if found is None:
            if fields.is_source(token.text):
                raise self._fault(f"say which one: {token.text}.NAME.", token)
            raise self._fault(f"there is no field {token.text!r}.{fields.known(token.text)}", token)
        return found

    def _compared(self, field: Field) -> Expression:
        token = self._take()
        if token.kind != "sign":
            raise self._fault("= != < <= > >= ~ in, like, contains or is was expected after a field's name.", token)
        sign = token.text
        if sign in ("~", "!~"):
            pattern = Pattern(field, f"%{_plain(self._pattern(field))}%")
            return pattern if sign == "~" else Not(pattern)
        said = self._next
        value = self._value(field)
        if sign in _ORDERED and isinstance(value, str) and field.kind is Kind.TEXT and field.name == "status":
            raise self._fault("statuses have no order: use =, != or in.", said)
        if field.name == "status" and field.source is Source.COLUMN and value == "unfinished":
            one_of = Membership(field, _UNFINISHED)
            return one_of if sign == "=" else Not(one_of)
        return Comparison(field, sign, value)

    def _list(self, field: Field) -> tuple[str | float, ...]:
        self._need_mark("(")
        values = [self._value(field)]
        while self._takes_mark(","):
            values.append(self._value(field))
            if len(values) > LONGEST_LIST:
                raise self._fault(f"a list has at most {LONGEST_LIST} values.")
        self._need_mark(")")
        if field.name == "status" and "unfinished" in values:
            values = [value for value in values if value != "unfinished"] + list(_UNFINISHED)
        return tuple(values)

    def _pattern(self, field: Field) -> str:
        if field.kind not in (Kind.TEXT, Kind.ANY):
            raise self._fault(f"{field.name} is a {field.kind.value}, which is compared with = != < <= > >=.")
        token = self._take_word()
        if token.kind not in ("text", "word", "number", "duration"):
            raise self._fault("a text was expected here.", token)
        return token.text

    def _nan(self, field: Field, place: Token) -> NotANumber:
        if field.source is not Source.METRIC:
            raise self._fault("only a metric can be NaN: isnan(metrics.loss).", place)
        return NotANumber(field)

    # Values

    def _value(self, field: Field) -> str | float:
        token = self._take_word()
        if token.kind in ("end", "sign", "mark", "field"):
            raise self._fault(f"{_wanted(field)} was expected here.", token)
        if field.kind is Kind.NUMBER:
            return self._number(field, token)
        if field.kind is Kind.DURATION:
            if token.kind in ("duration", "number"):
                return token.number
            raise self._fault(f"{_wanted(field)} was expected here.", token)
        if field.kind is Kind.TIME:
            return self._time(token)
        if field.kind is Kind.ANY and token.kind == "number":
            return token.number
        if field.source is Source.COLUMN and field.name == "status":
            return self._status(token)
        return token.text

    def _number(self, field: Field, token: Token) -> float:
        if token.kind == "number":
            return token.number
        if token.text.lower() == "nan":
            raise self._fault("nothing equals NaN: write isnan(metrics.NAME).", token)
        try:
            return float(token.text)
        except ValueError:
            raise self._fault(f"{_wanted(field)} was expected here.", token) from None

    def _time(self, token: Token) -> float:
        try:
            at = datetime.fromisoformat(token.text.strip())
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            problem = 'a time is written "2026-01-31" or "2026-01-31 18:30" (UTC); for what is recent, write age < 7d.'
            raise self._fault(problem, token) from None

    def _status(self, token: Token) -> str:
        word = token.text.lower()
        if word == "unfinished":
            return word
        found = _STATUSES.get(word) or _MLFLOW_STATUSES.get(word)
        if found is None:
            raise self._fault(
                f"there is no status {token.text!r}. There are: {', '.join(_STATUSES.values())}; and unfinished.", token
            )
        return found


def _wanted(field: Field) -> str:
    return {
        Kind.NUMBER: "a number",
        Kind.DURATION: "a duration such as 90s, 5m, 2h or 7d",
        Kind.TIME: 'a time such as "2026-01-31"',
    }.get(field.kind, "a text in quotes")


def _plain(text: str) -> str:
    """A text in which no letter of a pattern means more than itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
