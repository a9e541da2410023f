"""Positions: lines of the protocol, units of three encodings, and positions that do not exist."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from sidecar.lsp.positions import Positions
from sidecar.policy.editing.buffers import Buffer, BufferEdit, apply_edits

TEXT = st.text(st.sampled_from("ab,\r\n\u2028\x0c ü€😀\ufeff"), max_size=60)


@pytest.mark.parametrize(("encoding", "column"), [("utf-8", 8), ("utf-16", 4), ("utf-32", 3)])
def test_columns_count_units_of_the_encoding(encoding: str, column: int) -> None:
    positions = Positions("x\na€😀b", encoding)
    assert positions.position(5) == types.Position(1, column)
    assert positions.offset(types.Position(1, column)) == 5


def test_lines_end_at_three_line_ends_alone() -> None:
    positions = Positions("a\u2028b\x0cc\rd\r\ne\nf")
    assert [positions.position(offset).line for offset in (4, 6, 7, 9, 11)] == [0, 1, 1, 2, 3]


@given(text=TEXT, encoding=st.sampled_from(["utf-8", "utf-16", "utf-32"]))
def test_every_offset_comes_back(text: str, encoding: str) -> None:
    positions = Positions(text, encoding)
    for offset in range(len(text) + 1):
        if text[offset - 1 : offset + 1] != "\r\n":
            assert positions.offset(positions.position(offset)) == offset


@given(text=TEXT, line=st.integers(0, 2**31 - 1), character=st.integers(0, 2**31 - 1))
def test_positions_outside_the_text_are_its_ends(text: str, line: int, character: int) -> None:
    assert 0 <= Positions(text).offset(types.Position(line, character)) <= len(text)


@given(text=TEXT, line=st.integers(1, 99), column=st.integers(1, 99))
def test_a_diagnostic_beyond_the_text_has_a_place(text: str, line: int, column: int) -> None:
    assert 0 <= Buffer("policy.csv", text).offset(line, column) <= len(text)


def test_edits_apply_from_their_offsets() -> None:
    edits = [BufferEdit("a", 1, 2, "X"), BufferEdit("a", 0, 0, "<"), BufferEdit("a", 3, 3, ">")]
    assert apply_edits({"a": "abc"}, edits) == {"a": "<aXc>"}
    with pytest.raises(ValueError, match="overlap"):
        apply_edits({"a": "abc"}, [BufferEdit("a", 0, 2, ""), BufferEdit("a", 1, 3, "")])
