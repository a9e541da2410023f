"""`csv.js`: a spreadsheet runs no cell of the export, and reads back what the row holds."""

import csv
import io

from tests.console.node import call

HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x","y")', "=a,b", "-2\r\n=3"]
PLAIN = ["", "Ann", "a=b", "1-2", "x@example.com", 'say "hi"', "a,b", "a\nb", "'=1", "0", "＝1"]


def read_back(cells):
    """Return the cells as a reader of RFC 4180 finds them, each beside another cell."""
    [text] = call("csv.js", [("table", [["column", "other"], [[cell, "x"] for cell in cells]])])
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert (header, {row[1] for row in rows}) == (["column", "other"], {"x"})
    return [row[0] for row in rows]


def test_no_cell_begins_a_formula():
    assert read_back(HOSTILE) == ["'" + text for text in HOSTILE]


def test_plain_text_is_kept():
    assert read_back(PLAIN) == PLAIN


def test_null_is_an_empty_cell_and_numbers_are_text():
    assert call("csv.js", [("table", [["a", "b"], [[None, 7]]])]) == ["a,b\r\n,7\r\n"]
