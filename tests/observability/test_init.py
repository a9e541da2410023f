"""``sidecar init --for observability`` writes the rules and the dashboard, and overwrites nothing."""

from pathlib import Path

import pytest

from sidecar.cli.init import PURPOSES, TEMPLATES, init
from sidecar.cli.output import CliError


def test_files_for_observability_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "new" / "place"
    init.main([str(place), "--for", "observability"], standalone_mode=False)
    names = PURPOSES["observability"]
    assert sorted(path.name for path in place.iterdir()) == sorted(names)
    assert all((place / name).read_bytes() == (TEMPLATES / "observability" / name).read_bytes() for name in names)
    assert [Path(line).name for line in capsys.readouterr().out.splitlines()] == list(names)


def test_existing_files_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "dashboard.json").write_text("mine")
    with pytest.raises(CliError) as stopped:
        init.main([str(tmp_path), "--for", "observability"], standalone_mode=False)
    assert "dashboard.json" in stopped.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["dashboard.json"]
    assert (tmp_path / "dashboard.json").read_text() == "mine"


def test_minimal_is_for_policies(tmp_path: Path) -> None:
    with pytest.raises(CliError) as stopped:
        init.main([str(tmp_path / "x"), "--for", "observability", "--minimal"], standalone_mode=False)
    assert "--minimal" in stopped.value.message
    assert list(tmp_path.iterdir()) == []
