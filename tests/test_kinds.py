"""What an annotation asks for, of values and of words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from img2dataset.errors import OptionsError
from img2dataset.kinds import above, at_least, at_most, check, check_types, one_of, wanted

RIGHT = [
    (str, "a"),
    (int, 3),
    (float, 3),
    (float, 0.5),
    (float, math.inf),
    (bool, False),
    (Sequence[str], []),
    (Sequence[str], ("a", "b")),
    (tuple[str, ...], ["a"]),
    (Sequence[str], {"a"}),
    (Mapping[str, str], {"a": ""}),
    (str | None, None),
    (Sequence[str] | None, None),
    (Annotated[int, at_least(1)], 1),
    (Annotated[int, at_least(1)] | None, None),
    (Annotated[float, above(0)], math.inf),
    (Annotated[int, at_least(1), at_most(3)], 3),
    (Annotated[str, one_of({"a": 1, "b": 2})], "b"),
]
WRONG = [
    (str, 3, "a text that is not empty"),
    (str, None, "a text that is not empty"),
    (str, " ", "a text that is not empty"),
    (str, b"a", "a text that is not empty"),
    (int, True, "a whole number"),
    (int, 1.0, "a whole number"),
    (int, "3", "a whole number"),
    (float, "3", "a number"),
    (float, math.nan, "a number"),
    (float, False, "a number"),
    (bool, 1, "true or false"),
    (bool, "yes", "true or false"),
    (Sequence[str], "a", 'a list of texts, as ["a", "b"]'),
    (Sequence[str], 5, 'a list of texts, as ["a", "b"]'),
    (Sequence[str], [1], 'a list of texts, as ["a", "b"]'),
    (Sequence[str], [""], 'a list of texts, as ["a", "b"]'),
    (Sequence[str], b"a", 'a list of texts, as ["a", "b"]'),
    (Sequence[str], {"a": "b"}, 'a list of texts, as ["a", "b"]'),
    (Mapping[str, str], ["a"], 'texts by name, as {"Accept": "image/*"}'),
    (Mapping[str, str], {"a": 1}, 'texts by name, as {"Accept": "image/*"}'),
    (int | None, "3", "a whole number"),
    (Annotated[int, at_least(1)], 0, "a whole number of at least 1"),
    (Annotated[int, at_least(1)], "1", "a whole number of at least 1"),
    (Annotated[float, above(0)], 0.0, "a number above 0"),
    (Annotated[int, at_least(1), at_most(3)], 4, "a whole number of at least 1 and at most 3"),
    (Annotated[str, one_of(("a", "b"))], "c", "one of: a, b"),
    (Annotated[str, one_of(("a", "b"))], 3, "one of: a, b"),
    (Annotated[str, one_of(("a", "b"))], ["a"], "one of: a, b"),
    (Annotated[str, one_of(("a", "b"))] | None, True, "one of: a, b"),
]


@pytest.mark.parametrize(("annotation", "value"), RIGHT)
def test_a_value_of_the_kind_passes(annotation: Any, value: object) -> None:
    check("option", value, annotation)


@pytest.mark.parametrize(("annotation", "value", "right"), WRONG)
def test_any_other_is_refused_with_its_option_and_what_would_be_right(
    annotation: Any, value: object, right: str
) -> None:
    with pytest.raises(OptionsError) as refusal:
        check("option", value, annotation)
    assert str(refusal.value) == f"option is {value!r}; it must be {right}"


@dataclass(frozen=True)
class Group:
    count: Annotated[int, at_least(1)] = 1
    name: str | None = None


def test_a_group_is_checked_by_the_annotations_of_its_fields() -> None:
    check_types(Group())
    with pytest.raises(OptionsError, match=r"^count is 0; it must be a whole number of at least 1$"):
        check_types(Group(count=0))
    with pytest.raises(OptionsError, match=r"^name is 3; it must be a text that is not empty$"):
        check_types(Group(name=3))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Outer:
    group: Group
    really: bool = True


def test_a_group_in_a_group_checks_itself() -> None:
    check_types(Outer(Group()))
    with pytest.raises(OptionsError, match=r"^really is 1; it must be true or false$"):
        check_types(Outer(Group(), really=1))  # type: ignore[arg-type]


def test_what_is_read_as_a_word_of_a_kind_belongs_to_it() -> None:
    words = {str: "a", int: "1e3", float: "inf", bool: "no", Sequence[str]: "a,b", Mapping[str, str]: '{"a": 1}'}
    for annotation, word in words.items():
        assert wanted(annotation).holds(wanted(annotation).read(word))
        assert wanted(annotation | None).read("None") is None
