"""Dataclass to JSON and back.

Fields that this side does not know are dropped, enum members that it does not know stay plain
strings: a newer peer is understood as far as possible.
"""

from collections.abc import Hashable
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Type, TypeVar, Union, get_type_hints

T = TypeVar("T")
Reader = Callable[[Any], Any]


class _Field(NamedTuple):
    """One field of a dataclass; ``read`` None takes its value as it is."""

    name: str
    read: Optional[Reader]
    is_required: bool


# What is known of a class is found out once: a server reads and writes thousands of records a second.
_NAMES: Dict[type, Tuple[str, ...]] = {}
_FIELDS: Dict[type, List[_Field]] = {}
_PLAIN = frozenset({str, int, float, bool, type(None)})


def to_json(value: Any) -> Any:
    """A dataclass, enum, list, dict or scalar as plain JSON values."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    names = _NAMES.get(kind)
    if names is not None:
        return {name: to_json(getattr(value, name)) for name in names}
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(kind):
        _NAMES[kind] = tuple(field_.name for field_ in fields(kind))
        return to_json(value)
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


def from_json(cls: Type[T], data: Any) -> T:
    """An instance of the dataclass ``cls`` from what ``to_json`` gave.

    Raises:
        ValueError: ``data`` is not an object, a field without default is missing, or one that is a list or an
            object holds something else.
    """
    if not isinstance(data, dict):
        raise ValueError("{} needs a JSON object, got {}".format(cls.__name__, type(data).__name__))
    known = _FIELDS.get(cls)
    if known is None:
        known = _FIELDS[cls] = _fields(cls)
    values = {}
    for name, read, is_required in known:
        if name in data:
            value = data[name]
            values[name] = value if read is None or value is None else read(value)
        elif is_required:
            raise ValueError("{} lacks its field '{}'".format(cls.__name__, name))
    return cls(**values)


def _fields(cls: type) -> List[_Field]:
    hints = get_type_hints(cls)
    return [
        _Field(
            field_.name,
            _reader(hints[field_.name]),
            field_.default is MISSING and field_.default_factory is MISSING,
        )
        for field_ in fields(cls)
    ]


def _reader(hint: Any) -> Optional[Reader]:
    """What makes a value of a type of what JSON has for it, if it is not None; None where it is the same."""
    origin = getattr(hint, "__origin__", None)
    if origin is Union:  # Optional[X]
        (inner,) = [item for item in hint.__args__ if item is not type(None)]
        return _reader(inner)
    if origin in (list, List):
        read = _reader(hint.__args__[0])
        return _list if read is None else _each(read)
    if origin in (dict, Dict):
        read = _reader(hint.__args__[1])
        return _object if read is None else _each_value(read)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _member(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return lambda value: from_json(hint, value)
    return None


def _list(value: Any) -> List[Any]:
    if not isinstance(value, (list, tuple)):
        raise ValueError("a list is needed, not {}".format(type(value).__name__))
    return list(value)


def _object(value: Any) -> Dict[Any, Any]:
    if not isinstance(value, dict):
        raise ValueError("an object is needed, not {}".format(type(value).__name__))
    return dict(value)


def _each(read: Reader) -> Reader:
    return lambda value: [None if item is None else read(item) for item in _list(value)]


def _each_value(read: Reader) -> Reader:
    return lambda value: {key: None if item is None else read(item) for key, item in _object(value).items()}


def _member(cls: Type[Enum]) -> Reader:
    known = {member.value: member for member in cls}
    return lambda value: known.get(value, value) if isinstance(value, Hashable) else value
