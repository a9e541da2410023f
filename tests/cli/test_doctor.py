"""``sidecar doctor`` finds the obstacles to a start without starting, and does not disturb a running sidecar."""

import datetime
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from jwt.algorithms import OKPAlgorithm

from sidecar.server import preflight
from sidecar.sources.policy_files import packaged, read_policy_files
from tests.policy.needs_policies import with_needs

Look = Callable[..., dict[str, tuple[str, str]]]


@pytest.fixture
def look(cli: Any) -> Look:
    """``look("--listen", …)``: status and message per check. Without a store, which has its own tests."""

    def call(*flags: str) -> dict[str, tuple[str, str]]:
        done = cli("doctor", "--json", "--redis-url", "redis://127.0.0.1:1", *flags)
        assert done.status == 1, "the store is out"
        assert "Traceback" not in done.out + done.err
        return {one["check"]: (one["status"], one["detail"]) for one in json.loads(done.out)}

    return call


def test_doctor_looks_at_everything(at_store: Any) -> None:
    done = at_store("doctor", "--json")
    assert done.status == 0, done.out
    seen = {finding["check"]: finding["status"] for finding in json.loads(done.out)}
    assert {seen[what] for what in ("settings", "policy", "keys", "store", "clock")} == {"ok"}
    assert any("the packaged policy" in finding["detail"] for finding in json.loads(done.out))


def test_R38_doctor_says_why_passkeys_are_off(look: Look) -> None:
    status, detail = look("--public-url", "http://127.0.0.1:9181")["passkeys"]
    assert status == "ok"
    assert detail.startswith("off: ")
    assert "use localhost or a name" in detail
    assert look("--public-url", "http://localhost:9181")["passkeys"] == ("ok", "for localhost")


def test_networks_without_a_trusted_proxy_are_a_warning(look: Look, tmp_path: Path) -> None:
    lines, row = "needs, accountant, billing, view, office\n", "deny, accountant, billing, view, without office\n"
    (tmp_path / "networks").mkdir()
    for name, data in with_needs(read_policy_files(*packaged()).files, lines, row).items():
        (tmp_path / "networks" / name).write_bytes(data)
    policy = ("--policy-dir", str(tmp_path / "networks"), "--model", str(tmp_path / "networks" / "model.conf"))
    assert look(*policy)["policy"][0] == "warning"
    assert look(*policy, "--trusted-proxies", "10.0.0.0/8")["policy"][0] == "ok"


def test_doctor_names_what_is_wrong(cli: Any, tmp_path: Path) -> None:
    done = cli("doctor", "--redis-url", "redis://127.0.0.1:1", "--policy-dir", str(tmp_path), "--listen", "0.0.0.0:1")
    assert done.status == 1
    assert "SIDECAR_PLAINTEXT" in done.out
    assert "roles.toml" in done.out or "missing" in done.out
    assert "Traceback" not in done.out + done.err


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sidecar.test")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + datetime.timedelta(days=1))
    (folder / "cert.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*form))
    return str(folder / "cert.pem"), str(folder / "key.pem")


def test_certificates_are_loaded(look: Look, pair: tuple[str, str]) -> None:
    cert, key = pair
    both = ("--tls-cert", cert, "--tls-key", key)
    assert "tls" not in look()
    assert look(*both)["tls"][0] == "ok"
    assert look(*both, "--tls-client-ca", cert)["tls"][0] == "ok"
    status, detail = look("--tls-cert", "/nowhere/cert.pem", "--tls-key", key)["tls"]
    assert (status, "/nowhere/cert.pem" in detail) == ("fault", True)
    assert look("--tls-cert", cert, "--tls-key", cert)["tls"][0] == "fault"
    status, detail = look(*both, "--tls-client-ca", key)["tls"]
    assert (status, f"SIDECAR_TLS_CLIENT_CA={key}" in detail) == ("fault", True)


def test_the_decision_log_is_tried_and_not_made(look: Look, tmp_path: Path) -> None:
    file = tmp_path / "decisions.jsonl"
    assert look("--decision-log", str(file))["decision log"][0] == "ok"
    assert not file.exists()
    status, detail = look("--decision-log", str(tmp_path / "nowhere" / "log"))["decision log"]
    assert (status, "No such file" in detail) == ("fault", True)
    assert look("--decision-log", str(tmp_path))["decision log"][0] == "fault"


def test_an_address_in_use_is_a_warning_if_a_sidecar_may_run(look: Look) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for name, flag in (("public", "listen"), ("check", "check-listen"), ("ops", "ops-listen")):
            status, detail = look(f"--{flag}", address)[f"{name} listener"]
            assert (status, detail) == ("warning", f"{address} is in use, probably by a running sidecar")
    assert look("--listen", "127.0.0.1:0")["public listener"][0] == "ok"


def test_an_address_that_is_not_ours_is_a_fault(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    assert look("--listen", "192.0.2.1:8080")["public listener"][0] == "fault", "TEST-NET-1 is unassigned"

    def privileged(_address: object) -> list[socket.socket]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(preflight, "bind_all", privileged)
    said = look("--listen", "127.0.0.1:80")["public listener"]
    assert said == ("fault", "cannot listen on 127.0.0.1:80: Permission denied")


def test_R8_a_unix_sockets_folder_is_checked_and_left_unchanged(look: Look, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    where = ("--listen", f"unix:{folder}/s", "--public-url", "http://127.0.0.1:1")
    assert look(*where)["public listener"][0] == "fault", "the folder does not exist"
    folder.mkdir(mode=0o755)
    assert look(*where)["public listener"][0] == "ok"
    assert list(folder.iterdir()) == []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/s")
        server.listen()
        assert look(*where)["public listener"][0] == "warning"
    assert look(*where)["public listener"][0] == "ok", "no listener: serve would replace it"
    assert [path.name for path in folder.iterdir()] == ["s"]
    (folder / "s").unlink()
    (folder / "s").write_text("")
    assert look(*where)["public listener"][0] == "fault"
    (folder / "s").unlink()
    folder.chmod(0o1777)
    assert "world-writable" in look(*where)["public listener"][1]


def test_grpc_needs_its_library(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> object:
        raise ImportError("no", name="grpc")

    monkeypatch.setattr("sidecar.server.grpc_listener.import_module", missing)
    status, detail = look("--grpc-listen", "127.0.0.1:0")["grpc listener"]
    assert (status, "policy-sidecar[grpc]" in detail) == ("fault", True)


def test_the_issuers_file_is_read(look: Look, tmp_path: Path) -> None:
    file = tmp_path / "issuers.toml"
    status, detail = look("--trusted-issuers", str(file))["issuers"]
    assert (status, str(file) in detail) == ("fault", True)


KEY = OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key(), as_dict=True)


def an_issuer(name: str, keys: str, *accounts: str) -> str:
    named = ", ".join(f'"{account}"' for account in accounts or ("Acme",))
    return (
        f'[[issuer]]\nissuer = "https://{name}.example"\naudience = "dashboard"\nloopback_http = true\n{keys}\n'
        f'algorithms = ["EdDSA"]\naccounts = [{named}]\n'
    )


def test_unusable_keys_or_accounts_of_an_issuer_are_warnings(at_store: Any, tmp_path: Path) -> None:
    def written(name: str, *keys: Any) -> str:
        (tmp_path / name).write_text(json.dumps({"keys": keys}))
        return f'jwks_file = "{name}"'

    weak = {"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "weak"}
    file = tmp_path / "issuers.toml"
    file.write_text(
        an_issuer("good", written("good.json", KEY))
        + an_issuer("part", written("part.json", KEY, weak))
        + an_issuer("none", written("none.json", weak))
        + an_issuer("gone", 'jwks_url = "http://127.0.0.1:1/keys"')
        + an_issuer("nowhere", written("good.json", KEY), "Acme", "Nowhere", "acc_aaaaaaaaaaaa")
    )
    done = at_store("doctor", "--json", "--trusted-issuers", str(file))
    assert done.err == "", "findings of the table are not logged as well"
    issuers = [(one["status"], one["detail"]) for one in json.loads(done.out) if one["check"] == "issuers"]
    wanted = [
        ("ok", "https://good.example: 1 keys"),
        ("warning", "https://part.example: its keys: entry 2 (kid 'weak') cannot be read"),
        ("ok", "https://part.example: 1 keys"),
        ("warning", "https://none.example: its keys: none of its 1 keys can be used with EdDSA: entry 1 (kid 'weak')"),
        ("warning", "https://gone.example: its keys: http://127.0.0.1:1/keys: connection failed"),
        ("ok", "https://nowhere.example: 1 keys"),
        ("warning", "https://nowhere.example: there is no account 'Nowhere': create it, or remove it"),
        ("warning", "https://nowhere.example: there is no account 'acc_aaaaaaaaaaaa'"),
    ]
    assert len(issuers) == len(wanted)
    for expected, begins in wanted:
        assert any(status == expected and detail.startswith(begins) for status, detail in issuers), begins


def test_R24_mail_settings_are_tried_and_no_password_is_shown(look: Look) -> None:
    url = ("--smtp-url", "smtp://me:hunter2@mail.example.com")
    assert look(*url)["settings"] == ("fault", "SIDECAR_SMTP_URL needs SIDECAR_MAIL_FROM: mails need a sender")
    status, detail = look(*url, "--mail-from", "no-reply@example.com")["mails"]
    assert (status, "hunter2" in detail) == ("fault", False)
    fine = look("--smtp-url", "smtps://me:hunter2@mail.example.com", "--mail-from", "no-reply@example.com")
    assert fine["mails"] == ("ok", "from no-reply@example.com")
    assert look("--smtp-url", "smtps://mail.example.com", "--mail-from", "nobody")["mails"][0] == "fault"
