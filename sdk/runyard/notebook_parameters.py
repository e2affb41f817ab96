"""A notebook's arguments as the parameters that it is run with: by name, as papermill's ``-p name value`` takes them."""

from typing import Any, Dict, List, Sequence

from runyard.errors import UserErrorException

SUFFIX = ".ipynb"


def is_notebook(script: Any) -> bool:
    """Whether an entry script is run as a notebook."""
    return isinstance(script, str) and script.endswith(SUFFIX)


def parameters(arguments: Sequence[str]) -> Dict[str, Any]:
    """Parameters by name.

    ``--batch-size 50`` is ``batch_size = 50``; ``-p name value`` is taken as papermill's command takes it; a name
    without a value is True. A value that reads as a number, True, False or None is one.

    Raises:
        UserErrorException: a value without a name, or a name that is none in Python.
    """
    found: Dict[str, Any] = {}
    words: List[str] = list(arguments)
    while words:
        word = words.pop(0)
        if word in ("-p", "--parameters") and len(words) > 1:
            word, values = words[0], [words[1]]
            del words[:2]
        elif word.startswith("--") and "=" in word:
            word, _, value = word.partition("=")
            values = [value]
        elif _is_name(word):
            values = [words.pop(0)] if words and not _is_name(words[0]) else []
        else:
            raise UserErrorException(
                "A notebook takes parameters by name, and {!r} has none. Write ['--epochs', 20], or "
                "script_params={{'--epochs': 20}}.".format(word)
            )
        name = word.lstrip("-").replace("-", "_")
        if not name.isidentifier():
            raise UserErrorException("{!r} cannot be the name of a notebook's parameter in Python.".format(word))
        found[name] = _value(values[0]) if values else True
    return found


def _is_name(word: str) -> bool:
    return word.startswith("-") and word.lstrip("-")[:1].isalpha()


def _value(text: str) -> Any:
    constants = {"True": True, "False": False, "None": None}
    if text in constants:
        return constants[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
