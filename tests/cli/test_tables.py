"""Tables on terminals of every width: no id is broken, and no column is dropped without notice."""

import io
import re
import sys

import pytest

from sidecar.cli.output import print_table

KID = "Y3_2uJm9Lq0Zk8QwW4tXo5bN1cR7vA6eP-hD_sFgTjk"
UID = "usr_01JZX4Q7M2K9T5W8R3B6N0V1C4.7F2D9A1E5B8C3064"
MAIL = "administrator-of-everything@dashboard.example"
TABLES = {
    "users": (
        ("id", "e-mail", "name", "role", "status", "last sign-in"),
        [(UID, MAIL, "Ada Augusta King", "account-administrator", "active", "2026-11-29T23:15:01Z")] * 2,
        [UID, MAIL, "account-administrator", "2026-11-29T23:15:01Z", "active"],
    ),
    "keys": (
        ("kid", "state", "made", "retired", "file"),
        [(KID, "active", "2026-11-29T23:15:01Z", None, f"{KID}.pem")],
        [KID, f"{KID}.pem", "2026-11-29T23:15:01Z"],
    ),
    "accounts": (
        ("id", "name", "status", "seats"),
        [(UID, "An account with quite a long name that people chose", "suspended", "3/5")],
        [UID, "suspended", "3/5"],
    ),
    "matrix": (
        ("role", "section", "action", "decision", "because"),
        [
            (
                "account-administrator",
                "performance-center",
                "change-password",
                "allow",
                "policy.csv:11: p, a, *, *, allow",
            )
        ],
        ["account-administrator", "performance-center", "change-password", "allow"],
    ),
    "doctor": (
        ("check", "status", "detail"),
        [("store", "ok", f"/{'folder/' * 30}store"), ("keys", "ok", f"1 in .sidecar/keys, {KID} signs")],
        ["ok"],
    ),
    "keys of PEPs": (
        ("id", "name", "scopes", "rate", "expires"),
        [(UID, "reports", "evaluate introspect search", 100, "2026-11-29T23:15:01Z")],
        [UID, "evaluate", "introspect", "search", "2026-11-29T23:15:01Z"],
    ),
    "empty": (("id", "name"), [], []),
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(params=[20, 40, 60, 80, 100, 132, 400])
def width(request, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(request.param))
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("TERM", "xterm")
    return request.param


def drawn(monkeypatch, columns, rows):
    terminal = Terminal()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", terminal)
        print_table(columns, rows)
    return re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())


@pytest.mark.parametrize("table", TABLES)
def test_an_id_is_never_broken(table, width, monkeypatch):
    columns, rows, whole = TABLES[table]
    text = drawn(monkeypatch, columns, rows)
    for word in whole:
        assert len(re.findall(rf"(?<!\S){re.escape(word)}(?!\S)", text)) >= len(rows), f"{word} in\n{text}"
    if table == "doctor" and width >= 40:
        assert KID in text
    missing = [column for column in columns if column not in text]
    if missing and rows:
        assert f"omitted at width {width}: {', '.join(missing)}" in text.replace("\n", " ")


@pytest.mark.parametrize("table", TABLES)
def test_a_table_stays_within_the_terminal_where_its_words_do(table, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    columns, rows, _ = TABLES[table]
    for line in drawn(monkeypatch, columns, rows).splitlines():
        longest = max((len(word) for word in line.split()), default=0)
        assert len(line) <= 80 or longest > 60, line


def test_what_fits_is_one_line_per_row(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = drawn(monkeypatch, ("id", "name"), [("a1", "Acme"), ("b2", "Beta")])
    assert text.splitlines() == ["id  name", "a1  Acme", "b2  Beta"]


def test_a_free_text_column_is_dropped_before_rows_become_blocks(monkeypatch):
    monkeypatch.setenv("COLUMNS", "76")
    columns, rows, _ = TABLES["matrix"]
    text = drawn(monkeypatch, columns, rows)
    assert "omitted at width 76: because" in text.replace("\n", " ")
    assert text.splitlines()[1].split() == ["account-administrator", "performance-center", "change-password", "allow"]
