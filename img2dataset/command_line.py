"""The words of a command line → a call, with every value read by the type of its option, and an exit code."""

from __future__ import annotations

import difflib
import inspect
import logging
import os
import signal
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from img2dataset._version import __version__
from img2dataset.errors import OptionsError, ShardError
from img2dataset.kinds import wanted
from img2dataset.short_forms import in_full
from img2dataset.streams import secure_standard_streams
from img2dataset.tables import load

DONE, SHARD_FAILED, WRONG_OPTIONS, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143

# What the words call, by the first of them; "" stands for any other word, which is a url_list.
COMMANDS = {"": "img2dataset.main:download", "verify": "img2dataset.verify:verify"}
LATER_COMMANDS = ("report", "summary", "identity")


class _Terminated(BaseException):
    """SIGTERM arrived."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The console script. Ends the process with one of the exit codes above."""
    secure_standard_streams()
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        _run_command(list(sys.argv[1:] if argv is None else argv))
    except OptionsError as error:
        _end(WRONG_OPTIONS, f"img2dataset: {error}")
    except (ShardError, OSError) as error:
        _end(SHARD_FAILED, f"img2dataset: {error}")
    except KeyboardInterrupt:
        _end(INTERRUPTED, "img2dataset: stopped; the same command again does what is missing")
    except _Terminated:
        _end(TERMINATED, "img2dataset: terminated; the same command again does what is missing")
    sys.exit(DONE)


def _terminate(*_: object) -> NoReturn:
    raise _Terminated


def _end(code: int, line: str) -> NoReturn:
    print(line, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(code)  # a thread that a hung server holds must not keep the process


def _run_command(argv: list[str]) -> None:
    if argv == ["--version"]:
        print(__version__)
        return
    first = argv[0] if argv else "--help"
    if first in LATER_COMMANDS:
        raise OptionsError(f"{first!r} is a subcommand of a later version; for a list of that name write ./{first}")
    name, words = (first, argv[1:]) if first in COMMANDS else ("", argv)
    function = load(COMMANDS, name)
    if not argv or {"--help", "-h"} & set(words):
        _show_help(function, name)
        return
    result = call(function, words)
    if name == "verify":
        _tell(result)


def _show_help(function: Callable[..., Any], name: str) -> None:
    from img2dataset.help_page import help_page

    print(help_page(function, f"img2dataset {name}".strip()))
    if not name:
        others = ", ".join(command for command in COMMANDS if command)
        print(f"\nSubcommands, each with a --help of its own: {others}")


def _tell(broken: Mapping[str, str]) -> None:
    for name, problem in broken.items():
        print(f"{name}: {problem}")
    if broken:
        raise ShardError(f"{len(broken)} shards are broken")
    print("every shard is sound")


def call(function: Callable[..., Any], argv: list[str]) -> Any:
    """Have fire read the words, call the function once every one of them is understood, and return its result."""
    import fire
    from fire.decorators import SetParseFn

    @SetParseFn(str)  # type: ignore[untyped-decorator]  # fire alone would read 1e5 as a number and cut "out#2" short
    def words(*positional: str, **named: str) -> None:
        results.append(function(**typed_arguments(function, positional, named)))

    results: list[Any] = []
    in_full_words = ["/dev/stdin" if word == "-" else word for word in argv]  # for fire a - ends a call
    fire.Fire(words, command=in_full_words, name="img2dataset")
    return results.pop()


def typed_arguments(
    function: Callable[..., Any], positional: Sequence[str], named: Mapping[str, str]
) -> dict[str, Any]:
    """The words of a command line as arguments of the function, read by its annotations. Raises `OptionsError`."""
    annotations = typing.get_type_hints(function)
    parameters = inspect.signature(function).parameters
    named = {in_full(name, parameters): word for name, word in named.items()}
    for name in named:
        if name not in parameters:
            raise OptionsError(f"there is no option --{name}{_suggestion(name, parameters)}; --help lists them all")
    in_order = [name for name, parameter in parameters.items() if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    if len(positional) > len(in_order):
        raise OptionsError(f"{positional[len(in_order)]!r} is one word too many; write options as --name=value")
    given = dict(zip(in_order, positional, strict=False))
    for name in given.keys() & named.keys():
        raise OptionsError(f"{name} is given twice, as {given[name]!r} and as --{name}={named[name]}")
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in given | named:
            raise OptionsError(f"{name} is missing; write --{name}=...; --help shows all options")
    return {name: _read(name, word, annotations[name]) for name, word in (given | named).items()}


def _suggestion(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f" (did you mean --{close[0]}?)" if close else ""


def _read(name: str, word: str, annotation: Any) -> Any:
    """One value, by the annotation of its option."""
    right = wanted(annotation)
    try:
        return right.read(word)
    except (ValueError, SyntaxError, OverflowError) as error:
        raise OptionsError(f"{name} is {word!r}; it must be {right}") from error
