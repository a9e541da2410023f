"""Steps of a rotation on the key directory: published, signing, retired, gone; interrupted, and resumed."""

import contextlib

import pytest

from sidecar.sources import key_rotation
from sidecar.sources.key_files import KeyFileError, load, load_or_create
from sidecar.sources.key_rotation import (
    KeyState,
    choose_signing,
    list_keys,
    publish_next,
    remove_key,
    remove_retired,
    rotating,
)


@pytest.fixture
def directory(tmp_path):
    directory = tmp_path / "keys"
    load_or_create(directory)
    return directory


def states(directory):
    return {file.kid: file.state for file in list_keys(directory)}


def test_R21_rotation_publishes_then_signs_then_removes(directory):
    old = load(directory).keys.kid
    new = publish_next(directory)
    published = load(directory).keys
    assert published.kid == old
    assert set(published.verifying) == {old, new}
    assert states(directory) == {old: KeyState.ACTIVE, new: KeyState.PENDING}

    choose_signing(directory, new, now=1000)
    rotated = load(directory).keys
    assert rotated.kid == new
    assert set(rotated.verifying) == {old, new}
    assert states(directory) == {old: KeyState.RETIRED, new: KeyState.ACTIVE}
    assert [file.retired_at for file in list_keys(directory) if file.kid == old] == [1000]

    with pytest.raises(KeyFileError, match="is the signing key: rotate"):
        remove_key(directory, new)
    remove_key(directory, old)
    assert set(load(directory).keys.verifying) == {new}


def test_R21_every_file_of_a_rotation_is_its_owners_alone(directory):
    choose_signing(directory, publish_next(directory), now=1)
    publish_next(directory)
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    assert {"next", "retired", "signing"} <= {path.name for path in directory.iterdir()}


@pytest.mark.parametrize("steps", range(6))
def test_R21_an_interrupted_rotation_resumes_without_a_stray_key(directory, monkeypatch, steps):
    """Power fails before the n-th file operation of publishing and choosing."""
    left = iter(range(steps))

    def cut(function):
        def counted(*arguments):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return function(*arguments)

        return counted

    with monkeypatch.context() as patch:
        for name in ("create_private", "replace_private"):
            patch.setattr(key_rotation, name, cut(getattr(key_rotation, name)))
        with contextlib.suppress(KeyboardInterrupt):
            choose_signing(directory, publish_next(directory), now=1)
    load(directory)  # the set is complete after any step
    new = publish_next(directory)
    choose_signing(directory, new, now=2)
    assert load(directory).keys.kid == new
    assert KeyState.PENDING not in states(directory).values()
    assert KeyState.UNMANAGED not in states(directory).values()
    assert len(states(directory)) <= 3


def test_a_key_published_by_an_interrupted_rotation_is_used_next(directory):
    assert publish_next(directory) == publish_next(directory)
    assert len(list_keys(directory)) == 2


def test_only_keys_that_stopped_signing_long_ago_are_removed(directory):
    first = load(directory).keys.kid
    second = publish_next(directory)
    choose_signing(directory, second, now=1000)
    third = publish_next(directory)
    choose_signing(directory, third, now=2000)
    coming = publish_next(directory)
    assert remove_retired(directory, before=1000, now=1001) == ()
    assert remove_retired(directory, before=1001, now=1001) == (first,)
    assert set(states(directory)) == {first, second, third, coming}
    assert states(directory)[first] is KeyState.FORMER


def test_a_retired_key_that_signs_again_is_not_cleared_away(directory):
    first = load(directory).keys.kid
    second = publish_next(directory)
    choose_signing(directory, second, now=1000)
    choose_signing(directory, first, now=1500)
    assert remove_retired(directory, before=10_000, now=10_000) == (second,)
    assert load(directory).keys.kid == first


def test_a_spare_key_of_the_operator_is_never_cleared_away(directory, tmp_path):
    load_or_create(tmp_path / "others")
    spare = next((tmp_path / "others").glob("*.pem"))
    spare.rename(directory / "spare.pem")
    choose_signing(directory, publish_next(directory), now=1)
    assert states(directory)[spare.stem] is KeyState.UNMANAGED
    remove_retired(directory, before=10_000, now=10_000)
    assert spare.stem in states(directory)


def test_a_list_of_retired_keys_that_is_not_ours_retires_nothing(directory):
    choose_signing(directory, publish_next(directory), now=1)
    (directory / "retired").write_text("nonsense\n" + "\n".join(f"{file.kid} -5" for file in list_keys(directory)))
    assert remove_retired(directory, before=10_000, now=10_000) == ()
    assert len(list_keys(directory)) == 2


def test_one_rotation_at_a_time(directory):
    with (
        rotating(directory),
        pytest.raises(KeyFileError, match="another rotation is in progress"),
        rotating(directory),
    ):
        pass
    with rotating(directory):
        pass


def test_rotation_of_an_operators_single_key_keeps_it_signing(directory):
    (directory / "signing").unlink()
    before = load(directory).keys.kid
    publish_next(directory)
    assert load(directory).keys.kid == before
    assert (directory / "signing").read_text() == before + "\n"


@pytest.mark.parametrize("act", [lambda d, kid: choose_signing(d, kid, now=1), remove_key])
def test_an_unknown_kid_is_named(directory, act):
    with pytest.raises(KeyFileError, match="has no key nope"):
        act(directory, "nope")


def test_R21_a_reader_in_the_middle_of_a_switch_reads_again(directory, monkeypatch):
    """Between listing the keys and reading the active one, a new one was published and chosen."""
    from sidecar.sources import key_files

    real, switched = key_files._signing, []

    def signing(where, keys, **options):
        if not switched:
            monkeypatch.setattr(key_files, "_signing", real)
            switched.append(publish_next(where))
            choose_signing(where, switched[0], now=1)
        return real(where, keys, **options)

    monkeypatch.setattr(key_files, "_signing", signing)
    assert load(directory).keys.kid == switched[0]


DAY = 86_400


def retire_first(directory, at=1000):
    """A directory whose first key signed last at ``at``, with its private key file removed. Returns its kid."""
    first = load(directory).keys.kid
    choose_signing(directory, publish_next(directory), now=at)
    assert remove_retired(directory, before=at + 1, now=at + 1) == (first,)
    return first


def test_R5_the_public_half_of_a_retired_key_is_kept_for_90_days(directory):
    private = directory / f"{load(directory).keys.kid}.pem"
    public = load(directory).keys.private_key.public_key()
    first = retire_first(directory)
    assert not private.exists()
    keys = load(directory).keys
    assert first not in keys.verifying
    assert first not in {entry["kid"] for entry in keys.jwks()["keys"]}
    assert (keys.former[first].public, keys.former[first].until) == (public, 1000 + 90 * DAY)
    assert (directory / f"{first}.pub").stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in (directory / f"{first}.pub").read_bytes()

    assert remove_retired(directory, before=2 * DAY, now=1000 + 90 * DAY - 1) == ()
    assert first in load(directory).keys.former
    assert remove_retired(directory, before=89 * DAY, now=1000 + 90 * DAY) == ()
    assert first not in load(directory).keys.former
    assert not list(directory.glob("*.pub"))


def test_R5_a_key_retired_90_days_ago_is_removed_completely(directory):
    first = load(directory).keys.kid
    choose_signing(directory, publish_next(directory), now=1000)
    assert remove_retired(directory, before=91 * DAY, now=92 * DAY) == (first,)
    assert first not in states(directory)
    assert not list(directory.glob("*.pub"))


def test_R5_revoking_removes_the_public_half_at_once(directory):
    first = retire_first(directory)
    before = load(directory).keys.version
    remove_key(directory, first)
    assert load(directory).keys.former == {}
    assert first not in (directory / "retired").read_text()
    assert load(directory).keys.version != before, "the version identifies sidecars that have not followed"


def test_R5_an_undated_or_foreign_public_half_verifies_nothing(directory, tmp_path):
    first = retire_first(directory)
    (directory / "retired").unlink()
    assert load(directory).keys.former == {}
    (directory / "retired").write_text(f"{first} 1000\n")
    (directory / "retired").chmod(0o600)
    assert first in load(directory).keys.former
    load_or_create(tmp_path / "others")
    other = load(tmp_path / "others").keys
    choose_signing(tmp_path / "others", publish_next(tmp_path / "others"), now=1)
    remove_retired(tmp_path / "others", before=2, now=2)
    (tmp_path / "others" / f"{other.kid}.pub").replace(directory / f"{first}.pub")
    with pytest.raises(KeyFileError, match="is not the public half of"):
        load(directory)


def test_R5_a_sidecar_at_work_notices_that_a_public_half_is_gone(directory):
    from sidecar.sources.key_files import fingerprint

    first = retire_first(directory)
    before = fingerprint(directory)
    (directory / f"{first}.pub").unlink()
    assert fingerprint(directory) != before
