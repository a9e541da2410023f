"""Signatures of policy files: over the bytes that are compiled (R43), with a counter (R44)."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.policy.transfer.signature import Manifest, SignatureError, manifest_of, sign, verify

FILES = {"policy.csv": b"p, a, b, view, allow\n", "model.conf": b"[m]\n"}
KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(letter * 32) for letter in (b"k", b"o"))
TEXT = sign(FILES, KEY, counter=7, time="2026-11-30T00:00:00+00:00")


def test_R43_a_signature_holds_for_its_files_and_keys() -> None:
    public = [OTHER.public_key(), KEY.public_key()]
    assert verify(TEXT, FILES, public) == Manifest(7, "2026-11-30T00:00:00+00:00")
    assert manifest_of(TEXT, dict(reversed(FILES.items()))).counter == 7


@pytest.mark.parametrize(
    "files",
    [
        {**FILES, "policy.csv": FILES["policy.csv"] + b"\n"},
        {**FILES, "needs.csv": b""},
        {"policy.csv": FILES["policy.csv"]},
        {"policy.csv": FILES["model.conf"], "model.conf": FILES["policy.csv"]},
    ],
)
def test_R43_other_bytes_are_not_signed(files) -> None:
    with pytest.raises(SignatureError, match="other files"):
        verify(TEXT, files, [KEY.public_key()])


@pytest.mark.parametrize(
    "text",
    [
        sign(FILES, OTHER, counter=7, time=""),
        TEXT.replace('"counter":7', '"counter":8'),
        TEXT.splitlines()[0] + "\n",
        TEXT.splitlines()[0] + "\n!\n",
        TEXT.splitlines()[0] + "\n" + base64.b64encode(b"s" * 64).decode() + "\n",
        "",
        "é\n",
    ],
)
def test_R43_a_text_of_no_trusted_key_is_refused(text) -> None:
    with pytest.raises(SignatureError):
        verify(text, FILES, [KEY.public_key()])
    with pytest.raises(SignatureError):
        verify(TEXT, FILES, [])


@pytest.mark.parametrize("counter", [0, -1, 1.5, True, "7", None, 2**53])
def test_R44_a_counter_is_a_positive_integer(counter) -> None:
    document = {**json.loads(TEXT.splitlines()[0]), "counter": counter}
    line = json.dumps(document)
    signature = KEY.sign(b"sidecar-policy-signature/1\n" + line.encode())
    with pytest.raises(SignatureError, match="no signature"):
        verify(f"{line}\n{base64.b64encode(signature).decode()}\n", FILES, [KEY.public_key()])
