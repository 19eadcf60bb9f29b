"""Words of a command line → a call of a function: fire, with every value read by the type of its option."""

from __future__ import annotations

import ast
import difflib
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from img2dataset.errors import OptionsError


def help_text(function: Callable[..., Any], name: str = "img2dataset") -> str:
    """What ``--help`` shows: fire's page of the function."""
    from fire import helptext, trace

    page = str(helptext.HelpText(function, trace.FireTrace(function, name=name)))
    parameters = inspect.signature(function).parameters

    def flag(match: re.Match[str]) -> str:  # fire's own names short forms that several share, and cuts types off
        parameter = parameters[match["name"]]
        short = match["short"] if _in_full(match["letter"] or "", parameters) in parameters else ""
        kind = str(parameter.annotation).removesuffix(" | None")
        return f"{short}{match['flag']}        Type: {kind}\n        Default: {_as_word(parameter.default)}\n"

    return re.sub(_FLAG, flag, page).replace("Type: 'str'", "Type: str").replace(f"'{name}'", name)


def _as_word(value: Any) -> str:
    """A default as it would stand on the command line."""
    return ",".join(value) if isinstance(value, tuple) else str(value)


def call(function: Callable[..., Any], argv: list[str]) -> Any:
    """Have fire read the words, call the function once every one of them is understood, and return its result."""
    import fire
    from fire.decorators import SetParseFn

    @SetParseFn(str)  # type: ignore[untyped-decorator]  # fire alone would read 1e5 as a number and cut "out#2" short
    def words(*positional: str, **named: str) -> None:
        results.append(function(**typed_arguments(function, positional, named)))

    results: list[Any] = []
    fire.Fire(words, command=argv, name="img2dataset")
    return results.pop()


def typed_arguments(
    function: Callable[..., Any], positional: Sequence[str], named: Mapping[str, str]
) -> dict[str, Any]:
    """The words of a command line as arguments of the function, read by its annotations. Raises `OptionsError`."""
    kinds = typing.get_type_hints(function)
    parameters = inspect.signature(function).parameters
    named = {_in_full(name, parameters): word for name, word in named.items()}
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
    return {name: _read(name, word, kinds[name]) for name, word in (given | named).items()}


def _in_full(name: str, known: Iterable[str]) -> str:
    """``-p`` is the one option that begins with p, as fire's help says; any other name stays."""
    beginning = [option for option in known if option.startswith(name)]
    return beginning[0] if len(name) == 1 and len(beginning) == 1 else name


def _suggestion(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f" (did you mean --{close[0]}?)" if close else ""


def _read(name: str, word: str, kind: Any) -> Any:
    """One value, by the type that its option is annotated with."""
    unions = (types.UnionType, typing.Union)  # Python 3.10 makes one into the other where the default is None
    kinds = typing.get_args(kind) if typing.get_origin(kind) in unions else (kind,)
    if type(None) in kinds and word in ("None", "none", "null", ""):
        return None
    wanted = typing.get_origin(kinds[0]) or kinds[0]
    try:
        return _READERS[wanted](word)
    except (ValueError, SyntaxError, OverflowError) as error:
        raise OptionsError(f"{name} is {word!r}; it must be {_WANTED[wanted]}") from error


def _whole(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        number = float(word)  # 1e4 is ten thousand
        if number != int(number):
            raise
        return int(number)


def _boolean(word: str) -> bool:
    if word.lower() not in _BOOLEANS:
        raise ValueError
    return _BOOLEANS[word.lower()]


def _sequence(word: str) -> list[str]:
    """``a,b``, or as JSON or Python write it: ``["a", "b"]``."""
    if not word.strip().startswith(("[", "(")):
        return [part.strip() for part in word.split(",") if part.strip()]
    items = ast.literal_eval(word)
    if not all(isinstance(item, str) for item in items):
        raise ValueError
    return list(items)


def _mapping(word: str) -> dict[str, str]:
    value = json.loads(word)
    if not isinstance(value, dict):
        raise ValueError
    return {str(key): str(item) for key, item in value.items()}


_FLAG = r"(?P<short>-(?P<letter>\w), )?(?P<flag>--(?P<name>\w+)=.*\n)        Type: .*\n        Default: .*\n"
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_READERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: _whole,
    float: float,
    bool: _boolean,
    Sequence: _sequence,
    Mapping: _mapping,
}
_WANTED = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Sequence: 'a list, as a,b or ["a", "b"]',
    Mapping: 'a JSON object, as {"Name": "value"}',
}
