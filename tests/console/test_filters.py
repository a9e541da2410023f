"""`filters.js`: the audit's filters in the page's address, and the query of the API."""

from urllib.parse import parse_qs, urlsplit

from tests.console.node import call

EMPTY = {"actor": "", "target": "", "action": "", "from": "", "to": ""}
FULL = {
    "actor": "usr_a",
    "target": "usr_b&limit=9",
    "action": "user.changed",
    "from": "2026-11-01",
    "to": "2026-11-30",
}


def test_filters_survive_the_address():
    [search] = call("filters.js", [("write", [FULL])])
    assert call("filters.js", [("read", [search])]) == [FULL]
    assert call("filters.js", [("write", [EMPTY]), ("read", [""])]) == ["", EMPTY]


DAYS = ["2026-02-30", "2026-13-01", "0000-01-01", "now", "2026-1-1", "2026-01-01T00:00", "9" * 9, ""]


def test_a_day_that_does_not_exist_is_no_filter():
    found = call("filters.js", [("read", [f"?from={day}&to={day}"]) for day in DAYS])
    assert found == [EMPTY] * len(DAYS)


def test_text_of_improper_length_is_no_filter():
    assert call("filters.js", [("read", [f"?actor={'a' * 129}&other=1"])]) == [EMPTY]


def query_of(filters, page, zone="UTC"):
    [path] = call("filters.js", [("apiPath", [filters, page])], zone=zone)
    assert urlsplit(path).path == "/v1/audit"
    return {name: value for name, [value] in parse_qs(urlsplit(path).query).items()}


def test_without_filters_the_query_has_a_limit_alone():
    assert query_of(EMPTY, {"limit": 100}) == {"limit": "100"}


def test_days_are_those_of_the_readers_zone():
    assert query_of(FULL, {"limit": 5, "after": 9}, "Europe/Berlin") == {
        "actor": "usr_a",
        "target": "usr_b&limit=9",
        "action": "user.changed",
        "from": "2026-10-31T23:00:00.000Z",
        "to": "2026-11-30T23:00:00.000Z",
        "after": "9",
        "limit": "5",
    }


def test_a_day_on_which_the_clocks_change_is_whole():
    short = query_of({**EMPTY, "from": "2026-03-29", "to": "2026-03-29"}, {"limit": 1}, "Europe/Berlin")
    assert (short["from"], short["to"]) == ("2026-03-28T23:00:00.000Z", "2026-03-29T22:00:00.000Z")
