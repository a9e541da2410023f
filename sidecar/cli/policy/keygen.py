"""``sidecar policy keygen`` and ``policy sign``: keys and signatures of a policy."""

import time
from datetime import UTC, datetime
from pathlib import Path

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.cli.options import settings_from
from sidecar.cli.output import OK, usage_error
from sidecar.cli.policy.file_writer import write_file
from sidecar.cli.policy.git_source import source_in
from sidecar.cli.policy.policy_source import Source, compiled, files_options, say_diagnostics, source_of
from sidecar.policy.compiler import ProofScope
from sidecar.policy.transfer.signature import NAME
from sidecar.policy.transfer.signature import sign as signature_of
from sidecar.sources.private_files import PrivateFileError, create_private, read_private


@click.command()
@click.argument("name", type=click.Path(path_type=Path), metavar="NAME")
def keygen(name: Path) -> int:
    """Make a key for signatures: NAME.key (private, mode 0600) and NAME.pub, for the file of SIDECAR_POLICY_KEYS."""
    private, public = name.with_name(f"{name.name}.key"), name.with_name(f"{name.name}.pub")
    key = Ed25519PrivateKey.generate()
    try:
        if public.exists() or not create_private(private, _private_pem(key)):
            raise usage_error(f"{private} or {public} exists: choose another name")
    except OSError as error:
        raise usage_error(f"{private}: {error.strerror}") from None
    write_file(public, _public_pem(key))
    click.echo(f"{private} signs: keep it where only the signer reads it\n{public} verifies: SIDECAR_POLICY_KEYS")
    return OK


@click.command()
@click.argument("directory", required=False, metavar="[DIR]")
@click.option("--key", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Private key of `keygen`.")
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="COUNTER", help="Counter to exceed.")
@files_options
def sign(directory: str | None, key: Path, after: int, **flags: str | None) -> int:
    """Sign the policy files: write policy.sig beside policy.csv.

    The counter is the time in milliseconds, or one above --after. It may never go back: going back to older files
    means signing them again.
    """
    here = source_of(settings_from(flags))
    source = here if directory is None else source_in(Path(directory), here)
    private = _read_key(key)
    found = compiled(source, ProofScope.START)
    if found.generation is None:
        say_diagnostics((one for one in found.diagnostics if one.is_error), "text")
        raise usage_error("the policy is invalid: only files that sidecars would accept are signed")
    counter = max(time.time_ns() // 1_000_000, after + 1)
    at = datetime.fromtimestamp(counter / 1000, UTC).isoformat(timespec="seconds")
    write_file(_place(source), signature_of(found.generation.files, private, counter=counter, time=at).encode("ascii"))
    click.echo(f"{_place(source)}: generation {found.generation.id}, counter {counter}")
    return OK


def _place(source: Source) -> Path:
    return source.policy_dir / NAME


def _read_key(path: Path) -> Ed25519PrivateKey:
    fix = "name a .key file of `sidecar policy keygen`"
    try:
        raw, _ = read_private(path)
        key = serialization.load_pem_private_key(raw, password=None)
    except PrivateFileError as problem:
        raise usage_error(str(problem)) from None
    except OSError as error:
        raise usage_error(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise usage_error(f"{path}: is not a readable private key: {fix}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise usage_error(f"{path}: is not an Ed25519 key: {fix}")
    return key


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public_pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
