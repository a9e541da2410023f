"""`sidecar policy keygen` and `policy sign`: keys, and the signature beside the files (R43, R44)."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from sidecar.pdp.policy_signatures import SignatureCheck
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.transfer.signature import NAME
from tests.store.generations_fixture import packaged_files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a policy. The proof against pycasbin is left to the tests of the compiler."""
    from sidecar.cli.policy import policy_source

    def quick(files: Any, **more: Any) -> Any:
        return compile_policy(files, **{**more, "proof": ProofScope.NONE})

    monkeypatch.setattr(policy_source, "compile_policy", quick)
    place = tmp_path / "release"
    place.mkdir()
    for name, content in packaged_files().items():
        (place / name).write_bytes(content)
    return place


def test_R43_a_signed_directory_is_accepted_by_its_key(cli: Any, folder: Path, tmp_path: Path) -> None:
    assert cli("policy", "keygen", str(tmp_path / "release")).status == 0
    private, public = tmp_path / "release.key", tmp_path / "release.pub"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert b"PRIVATE" not in public.read_bytes()
    assert cli("policy", "keygen", str(tmp_path / "release")).status == 2, "no key is overwritten"
    done = cli("policy", "sign", str(folder), "--key", str(private))
    assert done.status == 0, done.err
    check, text = SignatureCheck(public), (folder / NAME).read_text()
    counter = check.manifest(text, packaged_files()).counter
    assert str(counter) in done.out
    again = cli("policy", "sign", str(folder), "--key", str(private), "--after", str(counter + 5000))
    assert again.status == 0, again.err
    assert json.loads((folder / NAME).read_text().splitlines()[0])["counter"] == counter + 5001


def test_only_a_private_key_file_signs(cli: Any, folder: Path, tmp_path: Path) -> None:
    cli("policy", "keygen", str(tmp_path / "k"))
    private = tmp_path / "k.key"
    (tmp_path / "k.pub").chmod(0o600)
    assert "not a readable private key" in cli("policy", "sign", str(folder), "--key", str(tmp_path / "k.pub")).err
    private.chmod(0o644)
    refused = cli("policy", "sign", str(folder), "--key", str(private))
    assert (refused.status, "600" in refused.err) == (2, True)
    assert not (folder / NAME).exists()


def test_an_invalid_policy_is_not_signed(cli: Any, folder: Path, tmp_path: Path) -> None:
    cli("policy", "keygen", str(tmp_path / "k"))
    (folder / "policy.csv").write_text("p, nobody, nothing, view, allow\n")
    refused = cli("policy", "sign", str(folder), "--key", str(tmp_path / "k.key"))
    assert (refused.status, "only files that sidecars would accept" in refused.err) == (2, True)
    assert not (folder / NAME).exists()
