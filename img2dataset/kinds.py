"""The kinds of values that options have: what each is called, what belongs to it, and how a word is read as one.

An option's annotation tells its kind, and may narrow it: ``Annotated[int, at_least(1)]``. ``| None`` lets None pass;
any other union has a kind of its own.
"""

from __future__ import annotations

import ast
import json
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any

from img2dataset.errors import OptionsError


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value, of the annotations that `KINDS` names."""

    label: str  # on a help page
    name: str  # in a sentence: it must be ...
    holds: Callable[[Any], bool]  # whether a value belongs to it
    read: Callable[[str], Any]  # a word of a command line; raises ValueError, SyntaxError or OverflowError


@dataclass(frozen=True, slots=True)
class Rule:
    """What narrows a kind, as `Annotated` holds it."""

    holds: Callable[[Any], bool]  # whether a value, which is of the right kind, is right
    describe: Callable[[str], str]  # the kind's name → what would be right


def at_least(minimum: int) -> Rule:
    """Not below a minimum: ``a whole number of at least 1``."""
    return Rule(lambda value: value >= minimum, lambda kind: f"{kind} of at least {minimum}")


def at_most(maximum: int) -> Rule:
    """Not above a maximum; stands after `at_least`: ``a whole number of at least 1 and at most 100``."""
    return Rule(lambda value: value <= maximum, lambda kind: f"{kind} and at most {maximum}")


def above(limit: float) -> Rule:
    """Greater than a number, infinity included: ``a number above 0``."""
    return Rule(lambda value: value > limit, lambda kind: f"{kind} above {limit:g}")


def one_of(names: Collection[str]) -> Rule:
    """One of a few names, of a tuple or of a table: ``one of: curl, requests``."""
    return Rule(lambda value: value in tuple(names), lambda _: f"one of: {', '.join(names)}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an annotation asks for."""

    kind: Kind
    rules: tuple[Rule, ...]
    or_none: bool

    def holds(self, value: Any) -> bool:
        """Whether a value is what is wanted."""
        if value is None and self.or_none:
            return True
        return self.kind.holds(value) and all(rule.holds(value) for rule in self.rules)

    def read(self, word: str) -> Any:
        """A word of a command line as a value of this kind. Raises what `Kind.read` does."""
        if self.or_none and word in ("None", "none", "null", ""):
            return None
        return self.kind.read(word)

    def __str__(self) -> str:
        """What would be right, as a sentence ends with it."""
        described = self.kind.name
        for rule in self.rules:
            described = rule.describe(described)
        return described


def wanted(annotation: Any) -> Wanted:
    """What an annotation asks for: ``int``, ``Annotated[int, at_least(1)]``, ``Sequence[str] | None`` and the like."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        others = frozenset(arguments) - {type(None)}
        inner = Wanted(KINDS[others], (), or_none=False) if len(others) > 1 else wanted(*others)
        return Wanted(inner.kind, inner.rules, or_none=type(None) in arguments)
    if origin is Annotated:
        inner = wanted(arguments[0])
        return Wanted(inner.kind, (*inner.rules, *arguments[1:]), inner.or_none)
    return Wanted(KINDS[origin or annotation], (), or_none=False)


def check(option: str, value: object, annotation: Any) -> None:
    """Raise `OptionsError` unless the value is what the annotation asks for; it says what would be right."""
    if not (right := wanted(annotation)).holds(value):
        raise OptionsError(f"{option} is {value!r}; it must be {right}")


def check_types(group: Any) -> None:
    """Raise `OptionsError` for the first field of an option group that is not what its annotation asks for.

    A field that is a group itself has been checked when it was made.
    """
    for option, annotation in typing.get_type_hints(type(group), include_extras=True).items():
        if not is_dataclass(annotation):
            check(option, getattr(group, option), annotation)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _are_texts(value: Any) -> bool:
    return isinstance(value, (Sequence, Set)) and not isinstance(value, (str, bytes)) and all(map(_is_text, value))


def _are_texts_by_name(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(each, str) for pair in value.items() for each in pair)


def _read_whole(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        number = float(word)  # 1e4 is ten thousand
        if number != int(number):
            raise
        return int(number)


def _read_bool(word: str) -> bool:
    if word.lower() not in _BOOLEANS:
        raise ValueError
    return _BOOLEANS[word.lower()]


def _is_size(value: Any) -> bool:
    sides = value if isinstance(value, (list, tuple)) and len(value) == 2 else (value,)
    return all(map(_is_whole, sides))


def _read_size(word: str) -> int | list[int]:
    """``256``; or ``(640,480)``, in round or square brackets."""
    bare = _without_brackets(word)
    return _read_whole(word) if bare is None else [_read_whole(side) for side in bare.split(",")]


def _read_texts(word: str) -> list[str]:
    """``a,b``; or in brackets, with quotes as JSON and Python write it, ``["a", "b"]``, or without, ``[a, b]``."""
    bare = _without_brackets(word)
    if bare is None:
        return _bare_texts(word)
    try:
        items: list[Any] = ast.literal_eval(f"[{bare}]")
    except (ValueError, SyntaxError):  # without quotes, which a shell takes away
        return _bare_texts(bare)
    if not all(isinstance(item, str) for item in items):
        raise ValueError
    return items


def _bare_texts(word: str) -> list[str]:
    parts = (part.strip().strip("'\"") for part in word.split(","))
    return [part for part in parts if part]


def _without_brackets(word: str) -> str | None:
    """What stands between ``[]`` or ``()``; None for a word that does not begin with one. Raises `ValueError`."""
    word = word.strip()
    if not word.startswith(tuple(_BRACKETS)):
        return None
    if len(word) < 2 or word[-1] != _BRACKETS[word[0]]:
        raise ValueError
    return word[1:-1]


def _read_texts_by_name(word: str) -> dict[str, str]:
    value = json.loads(word)
    if not isinstance(value, dict):
        raise ValueError
    return {str(key): str(item) for key, item in value.items()}


_BRACKETS = {"[": "]", "(": ")"}
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_TEXTS = Kind("list", 'a list of texts, as ["a", "b"]', _are_texts, _read_texts)

KINDS: dict[Any, Kind] = {
    Any: Kind("text", "a text", lambda _: True, str),  # and, from Python, what the function's docstring says
    str: Kind("text", "a text that is not empty", _is_text, str),
    int: Kind("whole number", "a whole number", _is_whole, _read_whole),
    float: Kind("number", "a number", _is_number, float),
    bool: Kind("true or false", "true or false", _is_bool, _read_bool),
    Sequence: _TEXTS,
    tuple: _TEXTS,
    frozenset({int, Sequence[int]}): Kind("whole number", "a whole number", _is_size, _read_size),
    Mapping: Kind("JSON object", 'texts by name, as {"Accept": "image/*"}', _are_texts_by_name, _read_texts_by_name),
}
