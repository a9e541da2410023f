"""``sidecar config``: every setting with value and source, secrets masked."""

import json
from typing import Any

import pytest

from sidecar.config.settings import ROWS


def test_every_setting_its_value_and_source(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDECAR_LEASE", "500ms")
    done = cli("config", "--json", "--audience", "shop")
    assert (done.status, done.err) == (0, "")
    rows = {row["name"]: row for row in json.loads(done.out)}
    assert list(rows) == list(ROWS)
    assert rows["lease"]["value"] == "500ms"
    assert rows["lease"]["source"] == "environment: SIDECAR_LEASE"
    assert rows["audience"]["source"] == "command line: --audience"
    assert rows["access_ttl"] | {"about": ""} == {
        "name": "access_ttl",
        "value": "15m",
        "source": "default",
        "about": "",
    }


def test_plain_when_piped(cli: Any) -> None:
    lines = cli("config").out.splitlines()
    assert lines[0].split() == ["SETTING", "VALUE", "SOURCE"]
    assert any(line.split() == ["listen", "127.0.0.1:9181", "default"] for line in lines)


def test_R24_secrets_are_masked(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDECAR_REDIS_URL", "redis://:hunter2@store:6379/0")
    for argv in (["config"], ["config", "--json"]):
        done = cli(*argv)
        assert "hunter2" not in done.out + done.err
        assert "redis://***@store:6379/0" in done.out


def test_R23_settings_that_would_not_start_are_status_2(cli: Any) -> None:
    far = ("--listen", "0.0.0.0:9181", "--public-url", "https://a.example")
    done = cli("config", *far)
    assert done.status == 2
    assert "listen" in done.out
    assert len(done.err.splitlines()) == 2
    assert "SIDECAR_PLAINTEXT=true" in done.err
    fine = cli("config", *far, "--plaintext", "--embedded")
    assert (fine.status, fine.err) == (0, "")


def test_warnings_are_said(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDECAR_PORT", "tcp://10.0.0.1:9181")
    done = cli("config")
    assert done.status == 0
    assert done.err.startswith("sidecar: warning: SIDECAR_PORT")


def test_what_it_does_not_look_at_is_said(cli: Any) -> None:
    told = " ".join(cli("config", "--help").out.split())
    assert "Exit status 2 when the settings contradict each other" in told
    assert "sidecar doctor" in told
