"""The page that ``--help`` shows, from a function's signature and docstring."""

from __future__ import annotations

import inspect
import shutil
import textwrap
import typing
from collections.abc import Callable, Iterator
from inspect import Parameter
from typing import Any

from docstring_parser import DocstringParam
from docstring_parser.google import DEFAULT_SECTIONS, GoogleParser, Section, SectionType

from img2dataset.kinds import wanted
from img2dataset.short_forms import in_full

WIDEST = 100  # characters of a line that the eye still follows
GROUPS = ("Args", "Reading the list", "Fetching", "Images", "Writing", "Running")  # the sections of a docstring
HOW = "Write options as --name=value, lists as a,b, mappings as JSON, and None for no value; --name alone is true."


def help_page(function: Callable[..., Any], command: str) -> str:
    """How to call it, what it is for, and every option with its type, its default and its paragraph."""
    width = min(shutil.get_terminal_size().columns, WIDEST)
    docstring = inspect.getdoc(function) or ""
    whole = GoogleParser([*DEFAULT_SECTIONS, *map(_section, GROUPS)]).parse(docstring)
    purpose = f"{whole.short_description}\n\n{whole.long_description or ''}".strip()
    parts = [f"Usage: {command} {_usage(function)}", *(_wrapped(text, width) for text in purpose.split("\n\n"))]
    parts.append(_wrapped(HOW, width))
    for title in GROUPS:
        if described := GoogleParser([_section(title)]).parse(docstring).params:
            parts += [f"{'Options' if title == 'Args' else title}:", *_options(function, described, width)]
    return "\n\n".join(parts)


def _section(title: str) -> Section:
    return Section(title, "param", SectionType.MULTIPLE)


def _usage(function: Callable[..., Any]) -> str:
    parameters = inspect.signature(function).parameters.values()
    required = [f"--{parameter.name}=..." for parameter in parameters if parameter.default is Parameter.empty]
    return " ".join([*required, "[--option=value ...]"])


def _options(function: Callable[..., Any], described: list[DocstringParam], width: int) -> Iterator[str]:
    """A head and a paragraph for each."""
    annotations = typing.get_type_hints(function)
    parameters = inspect.signature(function).parameters
    for option in described:
        name = option.arg_name
        short = [f"-{name[0]}"] if in_full(name[0], parameters) == name else []
        kind = wanted(annotations[name]).kind.label
        head = f"  {', '.join([*short, f'--{name}'])}: {kind}, {_default(parameters[name])}"
        yield f"{head}\n{_wrapped(option.description or '', width, indent=6)}"


def _default(parameter: Parameter) -> str:
    """The default as it would stand on the command line."""
    value = parameter.default
    if value is Parameter.empty:
        return "required"
    return f"{','.join(value) if isinstance(value, tuple) else value} by default"


def _wrapped(text: str, width: int, indent: int = 0) -> str:
    margin = " " * indent
    words = " ".join(text.split())
    return textwrap.fill(
        words, width, initial_indent=margin, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False
    )
