"""Dataclass to JSON and back.

Fields that this side does not know are dropped, enum members that it does not know stay plain
strings: a newer peer is understood as far as possible.
"""

from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any, Dict, List, Type, TypeVar, Union, get_type_hints

T = TypeVar("T")

_HINTS: Dict[type, Dict[str, Any]] = {}


def to_json(value: Any) -> Any:
    """A dataclass, enum, list, dict or scalar as plain JSON values."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


def from_json(cls: Type[T], data: Any) -> T:
    """An instance of the dataclass ``cls`` from what ``to_json`` gave.

    Raises:
        ValueError: ``data`` is not an object, or a field without default is missing.
    """
    if not isinstance(data, dict):
        raise ValueError("{} needs a JSON object, got {}".format(cls.__name__, type(data).__name__))
    hints = _HINTS.get(cls)
    if hints is None:
        hints = _HINTS[cls] = get_type_hints(cls)
    values = {}
    for field_ in fields(cls):  # type: ignore[arg-type]
        if field_.name in data:
            values[field_.name] = _decode(hints[field_.name], data[field_.name])
        elif field_.default is MISSING and field_.default_factory is MISSING:
            raise ValueError("{} lacks its field '{}'".format(cls.__name__, field_.name))
    return cls(**values)


def _decode(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    origin = getattr(hint, "__origin__", None)
    if origin is Union:  # Optional[X]
        (inner,) = [item for item in hint.__args__ if item is not type(None)]
        return _decode(inner, value)
    if origin in (list, List):
        return [_decode(hint.__args__[0], item) for item in value]
    if origin in (dict, Dict):
        return {key: _decode(hint.__args__[1], item) for key, item in value.items()}
    if isinstance(hint, type):
        if issubclass(hint, Enum):
            try:
                return hint(value)
            except ValueError:
                return value
        if is_dataclass(hint):
            return from_json(hint, value)
    return value
