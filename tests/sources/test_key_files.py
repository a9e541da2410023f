"""The key directory: first starts, also concurrent ones, rejected content, and rotation."""

import contextlib
import multiprocessing
import os
import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.sources import key_files
from sidecar.sources.key_files import KeyFileError, fingerprint, load, load_or_create
from sidecar.sources.key_rotation import choose_signing, publish_next
from sidecar.tokens.keyset import thumbprint

PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
PLAIN = serialization.NoEncryption()


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "state" / "keys"


def put(path, content, mode=0o600):
    path.write_bytes(content)
    path.chmod(mode)


def pem(seed=b"k"):
    return Ed25519PrivateKey.from_private_bytes(seed * 32).private_bytes(PEM, PKCS8, PLAIN)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_R21_a_first_start_makes_closed_files_for_the_next(directory):
    made = load_or_create(directory)
    again = load_or_create(directory)
    assert again.keys.version == made.keys.version
    assert again.pepper.identity == made.pepper.identity
    assert mode(directory) == mode(directory.parent) == 0o700
    assert sorted(path.name for path in directory.iterdir()) == sorted([f"{made.keys.kid}.pem", "pepper", "signing"])
    assert {mode(path) for path in directory.iterdir()} == {0o600}


def test_R21_an_open_umask_opens_nothing(directory):
    before = os.umask(0)
    try:
        load_or_create(directory)
    finally:
        os.umask(before)
    assert mode(directory) == 0o700
    assert {mode(path) for path in directory.iterdir()} == {0o600}


def _start(directory, barrier, results):
    barrier.wait()
    loaded = load_or_create(directory)
    results.put((loaded.keys.kid, loaded.keys.version, loaded.pepper.identity))


def test_R21_many_first_starts_at_once_end_with_the_same_keys(tmp_path):
    context = multiprocessing.get_context("fork")
    for attempt in range(6):
        barrier, results = context.Barrier(6), context.Queue()
        processes = [context.Process(target=_start, args=(tmp_path / str(attempt), barrier, results)) for _ in range(6)]
        for process in processes:
            process.start()
        seen = {results.get(timeout=20) for _ in processes}
        for process in processes:
            process.join()
        assert len(seen) == 1
        assert len(list((tmp_path / str(attempt)).glob("*.pem"))) == 1


@pytest.mark.parametrize("steps", range(1, 9))
def test_R21_a_killed_first_start_is_completed_by_the_next(directory, monkeypatch, steps):
    """Power fails before the n-th file operation; the remaining files suffice for a complete set."""
    left = iter(range(steps))

    def cut(function):
        def counted(*arguments, **options):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return function(*arguments, **options)

        return counted

    with monkeypatch.context() as patch:
        for name in ("create_private", "make_private_directory", "_read_key"):
            patch.setattr(key_files, name, cut(getattr(key_files, name)))
        with contextlib.suppress(KeyboardInterrupt):
            load_or_create(directory)
    loaded = load_or_create(directory)
    assert load_or_create(directory).keys.version == loaded.keys.version
    assert len(list(directory.glob("*.pem"))) == 1
    assert not list(directory.glob(".*"))


def test_a_single_key_of_the_operator_signs_whatever_its_name(directory):
    directory.mkdir(parents=True, mode=0o700)
    put(directory / "ours.pem", pem())
    loaded = load_or_create(directory)
    assert loaded.keys.kid == thumbprint(Ed25519PrivateKey.from_private_bytes(b"k" * 32).public_key())
    assert not (directory / "signing").exists()


def test_two_keys_and_no_word_which_one_signs_is_no_start(directory):
    directory.mkdir(parents=True, mode=0o700)
    put(directory / "a.pem", pem(b"a"))
    put(directory / "b.pem", pem(b"b"))
    with pytest.raises(KeyFileError, match=r"signing: is missing, and there are 2 keys: write the kid"):
        load_or_create(directory)


def _rsa_like(path):
    put(path, ec.generate_private_key(ec.SECP256R1()).private_bytes(PEM, PKCS8, PLAIN))


def _encrypted(path):
    key = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    put(path, key.private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"secret")))


def _fifo(path):
    os.mkfifo(path, 0o600)


def _link(path):
    target = path.with_name("elsewhere")
    put(target, pem())
    path.symlink_to(target)


BAD_KEYS = {
    "readable by the group": (lambda path: put(path, pem(), 0o640), "mode 0640, so others can use it: chmod 600"),
    "readable by all": (lambda path: put(path, pem(), 0o604), "mode 0604"),
    "a symbolic link": (_link, "is a symbolic link"),
    "a fifo": (_fifo, "is not a regular file"),
    "a directory": (lambda path: path.mkdir(mode=0o700), "is not a regular file"),
    "empty": (lambda path: put(path, b""), "does not contain exactly one key"),
    "two keys": (lambda path: put(path, pem() + pem()), "does not contain exactly one key"),
    "cut off": (lambda path: put(path, pem()[:60]), "is not a readable private key"),
    "not text": (lambda path: put(path, b"\xff\x00"), "does not contain exactly one key"),
    "encrypted": (_encrypted, "is not a readable private key"),
    "of another kind": (_rsa_like, "is not an Ed25519 key"),
    "huge": (lambda path: put(path, b"x" * 20_000), "is larger than"),
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_R21_a_key_file_that_cannot_be_trusted_is_no_start(directory, name):
    make, message = BAD_KEYS[name]
    load_or_create(directory)
    make(directory / "bad.pem")
    with pytest.raises(KeyFileError, match=message) as caught:
        load_or_create(directory)
    assert str(caught.value).startswith(str(directory / "bad.pem"))


def test_R21_a_directory_open_to_others_is_no_start(directory):
    load_or_create(directory)
    directory.chmod(0o750)
    with pytest.raises(KeyFileError, match=r"keys: has mode 0750, so others can use it: chmod 700"):
        load_or_create(directory)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_R21_files_of_another_user_are_no_start(directory):
    load_or_create(directory)
    os.chown(directory / "pepper", 12345, -1)
    with pytest.raises(KeyFileError, match=r"pepper: belongs to uid 12345, the sidecar runs as 0: chown"):
        load(directory)


def test_R19_a_pepper_of_the_wrong_length_is_no_start(directory):
    load_or_create(directory)
    put(directory / "pepper", b"short")
    with pytest.raises(KeyFileError, match=r"pepper: has 5 bytes instead of 32: restore it"):
        load_or_create(directory)


@pytest.mark.parametrize("where", ["keys", "state"])
def test_a_file_in_the_place_of_the_directory_is_one_sentence(tmp_path, where):
    put(tmp_path / where, b"")
    with pytest.raises(KeyFileError, match=str(tmp_path / where)):
        load_or_create(tmp_path / where if where == "keys" else tmp_path / where / "keys")


def test_load_makes_nothing(directory):
    with pytest.raises(KeyFileError, match="No such file"):
        load(directory)
    assert not directory.exists()


def test_signing_that_names_no_key_here_is_no_start(directory):
    load_or_create(directory)
    put(directory / "signing", b"nope\n")
    with pytest.raises(KeyFileError, match="names an unknown key: write one of these kids"):
        load(directory)


def test_fingerprint_changes_with_what_counts_alone(directory):
    load_or_create(directory)
    first = fingerprint(directory)
    put(directory / "notes.txt", b"x")
    put(directory / ".hidden.pem", b"x")
    assert fingerprint(directory) == first
    new = publish_next(directory)
    second = fingerprint(directory)
    choose_signing(directory, new, now=1)
    assert len({first, second, fingerprint(directory)}) == 3
    assert fingerprint(directory / "nowhere") == ()
