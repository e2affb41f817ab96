"""How the command line is read: parsers of nouns and verbs, and the kinds of arguments that several of them take."""

import argparse
import re
from typing import Any, Callable, List, NoReturn, Optional, Tuple

Command = Callable[[Any], int]  # takes a call.Call, gives the exit code


class UsageError(Exception):
    """The command line cannot be read. ``usage`` is the line that shows how it is written."""

    def __init__(self, message: str, usage: str) -> None:
        super().__init__(message)
        self.usage = usage


class CommandParser(argparse.ArgumentParser):
    """A parser that raises UsageError, says what was probably meant, and keeps its usage to one line."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", _Formatter)
        super().__init__(allow_abbrev=False, add_help=False, **settings)
        self.common = self.add_argument_group("everywhere")
        self.common.add_argument("-h", "--help", action="help", help="show this text")

    def usage_line(self) -> str:
        """How the command is written: its name and its positional arguments."""
        words = [self.prog, "[options]"]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                words = [self.prog, str(action.metavar), "..."]
            elif not action.option_strings:
                shown = str(action.metavar or action.dest)
                words.append({"?": "[{}]", "*": "[{} ...]", "+": "{} ..."}.get(str(action.nargs), "{}").format(shown))
                if action.nargs == argparse.REMAINDER:
                    words[-1] = "[{} ...]".format(shown)
        return " ".join(words)

    def format_usage(self) -> str:
        return "usage: {}\n".format(self.usage_line())

    def format_help(self) -> str:
        self.usage = self.usage_line().replace("%", "%%")
        self._action_groups.remove(self.common)  # what every command has comes last
        self._action_groups.append(self.common)
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        raise UsageError(re.sub(r"^argument (?:COMMAND|VERB): ", "", message), self.format_usage().strip())

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            import difflib

            choices = [str(choice) for choice in action.choices]
            near = difflib.get_close_matches(str(value), choices, 1)
            raise argparse.ArgumentError(
                action,
                "there is no {!r}{}. There are: {}".format(
                    value, " (did you mean {!r}?)".format(near[0]) if near else "", ", ".join(choices)
                ),
            )


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str, **settings: Any) -> None:
        super().__init__(prog, max_help_position=30, **settings)


class Commands:
    """Where commands are added: the program itself, or a noun of it."""

    def __init__(self, parser: CommandParser, metavar: str) -> None:
        self.parser = parser
        self._places = parser.add_subparsers(
            metavar=metavar, title="commands", parser_class=CommandParser, help=argparse.SUPPRESS
        )
        parser.set_defaults(command=None, parser=parser)
        self.summaries: List[Tuple[str, str]] = []

    def noun(self, name: str, summary: str, examples: str = "") -> "Commands":
        """A word that verbs follow."""
        parser = self._add(name, summary, "", examples)
        add_common(parser, argparse.SUPPRESS)
        return Commands(parser, "VERB")

    def verb(
        self, name: str, command: Command, summary: str, details: str = "", examples: str = ""
    ) -> argparse.ArgumentParser:
        """A word that does something; gives the parser to add its arguments to."""
        parser = self._add(name, summary, details, examples)
        parser.set_defaults(command=command, parser=parser)
        add_common(parser, argparse.SUPPRESS)
        return parser

    def _add(self, name: str, summary: str, details: str, examples: str) -> CommandParser:
        self.summaries.append((name, summary))
        description = summary[0].upper() + summary[1:] + "." + ("\n\n" + details if details else "")
        parser: CommandParser = self._places.add_parser(
            name, description=description.replace("%", "%%"), epilog=_epilog(examples)
        )
        return parser

    def describe(self) -> None:
        """Writes the list of its verbs into the parser's help."""
        lines = [self.parser.description or "", ""]
        lines += ["  {}  {}".format(name.ljust(14), summary) for name, summary in self.summaries]
        self.parser.description = "\n".join(lines).replace("%", "%%")


def add_common(parser: CommandParser, default: Any = None) -> None:
    """The options that every command has; they may stand before the noun too."""
    parser.common.add_argument(
        "--workspace",
        metavar="NAME",
        default=default,
        help="the workspace on this machine (default: what a config.json here or above names, else 'default')",
    )
    parser.common.add_argument(
        "--json",
        action="store_true",
        default=default if default == argparse.SUPPRESS else False,
        help="one JSON document on standard output, nothing else",
    )


def add_pairs(parser: Any, option: str, help: str, metavar: str = "KEY=VALUE") -> None:
    """An option that may be repeated, each time with a key and a value; gathered as a list of pairs."""
    parser.add_argument(option, metavar=metavar, type=pair, action="append", default=[], help=help)


def pair(text: str) -> Tuple[str, str]:
    """ "KEY=VALUE" in two; a bare key has the value ""."""
    key, _, value = text.partition("=")
    if not key:
        raise argparse.ArgumentTypeError("{!r} has no key: write KEY=VALUE".format(text))
    return key, value


def whole_number(least: int) -> Callable[[str], int]:
    """The kind of argument that is a whole number of at least ``least``."""

    def number(text: str) -> int:
        if not text.lstrip("-").isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError("{!r} is no whole number of at least {}".format(text, least))
        return int(text)

    return number


def name_and_version(text: str) -> Tuple[str, Optional[int]]:
    """ "NAME" or "NAME:VERSION" in two; the version is None where it is not given."""
    name, colon, version = text.partition(":")
    if colon and not version.isdigit():
        raise argparse.ArgumentTypeError("{!r} is not NAME or NAME:VERSION, such as tf-dnn-mnist:2".format(text))
    return name, int(version) if colon else None


def _epilog(examples: str) -> str:
    if not examples:
        return ""
    return "examples:\n" + "\n".join("  " + line for line in examples.strip().split("\n")).replace("%", "%%")
