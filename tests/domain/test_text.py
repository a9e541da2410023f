"""Bounded text: transformed and rejected input, and the cost of the worst text within the bounds."""

import sys
import unicodedata
from collections.abc import Callable
from functools import partial
from time import thread_time

import pytest

from sidecar.domain.text import MAX_MARKS, NormalForm, fold, fold_case, is_bounded, normalise
from tests.worst import slowness

LONG = 4096
ORDERINGS = {
    "descending": "\u0344\u0344\u0334",
    "mixed": "\u0301\u0327\u0334\u0345",
    "hidden by class 0": "\u0f73\u0f75\u0334",
    "halfwidth voiced marks": "\uff9e\u0334\uff9f",
    "a mark that is a letter": "\u3099\u0334",
}


def test_text_within_its_bounds_is_transformed() -> None:
    assert normalise("ｓｅｃｒｅｔ", NormalForm.NFKC, 10) == "secret"
    assert normalise("e\u0301", NormalForm.NFC, 2) == "é"
    assert normalise("é", NormalForm.NFKD, 2) == "e\u0301"
    assert fold_case("Straße", 10) == "strasse"
    assert fold("Ｓtraße", 10) == "strasse"
    assert fold("", 0) == ""


def test_the_longest_text_is_taken_and_one_more_is_not() -> None:
    for text in ("a" * 20, "ä" * 20):
        assert is_bounded(text, 20)
        assert not is_bounded(text, 19)
        assert normalise(text, NormalForm.NFC, 19) is fold(text, 19) is fold_case(text, 19) is None


def test_a_result_is_within_the_same_bounds() -> None:
    assert normalise("ﬃ", NormalForm.NFKC, 2) is None
    assert normalise("ﬃ", NormalForm.NFKC, 3) == "ffi"
    assert fold("ßß", 3) is None
    marks = "a" + "\u0344" * MAX_MARKS
    assert is_bounded(marks, LONG)
    assert normalise(marks, NormalForm.NFKD, LONG) is None, "each of them is two marks"


@pytest.mark.parametrize("marks", ORDERINGS.values(), ids=ORDERINGS)
def test_a_run_of_marks_ends_at_thirty(marks: str) -> None:
    run = (marks * MAX_MARKS)[:MAX_MARKS]
    assert is_bounded(f"a{run}b{run}", LONG)
    assert not is_bounded(f"a{run}{run[0]}", LONG)
    assert normalise(f"a{run}{run[0]}", NormalForm.NFKC, LONG) is None


def test_every_character_that_becomes_a_mark_is_counted_as_one() -> None:
    """From the database of the running Python: another version may have others."""
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if unicodedata.combining(unicodedata.normalize("NFKD", char)[0]):
            assert not is_bounded(char * (MAX_MARKS + 1), LONG), f"U+{code:04X}"


def test_no_character_lengthens_text_without_bounds() -> None:
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if len(unicodedata.normalize("NFKD", char)) > 7:
            assert not is_bounded(char * 3, 20), f"U+{code:04X}"


RUNS = {
    f"{name}, in runs of thirty": ("a" + (marks * MAX_MARKS)[:MAX_MARKS]) * 2000 for name, marks in ORDERINGS.items()
}
WORST = {
    **{name: "a" + marks * 21_000 for name, marks in ORDERINGS.items()},
    **RUNS,
    "letters that decompose into letters and marks": "\u0390" * 30_000,
    "decomposed Hangul": "\u1100\u1161\u11a8" * 10_000,
    "Hangul": "\uac01" * 30_000,
    "ligature of 18": "\ufdfa" * 30_000,
    "ligature of 8": "\ufdfb" * 30_000,
    "squared words": "\u331f" * 30_000,
    "one mark after another letter": "\u00a8\u0345" * 15_000,
}


@pytest.mark.parametrize("transform", [fold, partial(normalise, form=NormalForm.NFKD)], ids=["fold", "NFKD"])
@pytest.mark.parametrize("text", WORST.values(), ids=WORST)
@pytest.mark.parametrize("size", [320, 3072])
def test_R16_worst_text_is_cheap_within_bounds_and_free_beyond(
    text: str, size: int, transform: Callable[..., object]
) -> None:
    for piece in (text, text[:size]):
        took = min(_cpu(transform, piece, size) for _ in range(7))
        assert took < 0.005 * slowness(), f"{took * 1000:.1f} ms"


def _cpu(transform: Callable[..., object], text: str, size: int) -> float:
    started = thread_time()
    transform(text, max_length=size)
    return thread_time() - started
