"""The store's URL: accepted and rejected forms, and no secret in any message."""

import pytest

from sidecar.config.problems import problems
from sidecar.config.settings import load
from sidecar.config.sources import SettingsError
from sidecar.store.servers.address import (
    SCHEMES,
    DeploymentKind,
    StoreAddress,
    StoreAddressError,
    masked,
    parse_address,
)

TAIL = {"": "", "sentinel": "/mymaster", "cluster": ""}


def tail(scheme):
    return TAIL[scheme.partition("+")[2]]


def rejected(text):
    with pytest.raises(StoreAddressError) as caught:
        parse_address(text)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("redis://h", StoreAddress(DeploymentKind.SINGLE, (("h", 6379),))),
        ("redis://h/", StoreAddress(DeploymentKind.SINGLE, (("h", 6379),))),
        ("redis://:p%40s%2Fs@h:1/15", StoreAddress(DeploymentKind.SINGLE, (("h", 1),), database=15, password="p@s/s")),
        (
            "redis://u:a:b@h?db=3",
            StoreAddress(DeploymentKind.SINGLE, (("h", 6379),), database=3, username="u", password="a:b"),
        ),
        ("redis://[::1]:2", StoreAddress(DeploymentKind.SINGLE, (("::1", 2),))),
        (
            "redis://h?username=u&password=p%2Bq",
            StoreAddress(DeploymentKind.SINGLE, (("h", 6379),), username="u", password="p+q"),
        ),
        ("unix:///run/r.sock?db=1", StoreAddress(DeploymentKind.SINGLE, path="/run/r.sock", database=1)),
        ("unix://:pw@/run/r.sock", StoreAddress(DeploymentKind.SINGLE, path="/run/r.sock", password="pw")),
        (
            "rediss://h?ssl_check_hostname=no",
            StoreAddress(DeploymentKind.SINGLE, (("h", 6379),), tls={"ssl_check_hostname": False}),
        ),
        (
            "rediss+sentinel://:p@a,b:2/m/3?sentinel_username=w&ssl_ca_certs=/c",
            StoreAddress(
                DeploymentKind.SENTINEL,
                (("a", 26379), ("b", 2)),
                master="m",
                database=3,
                password="p",
                sentinel_username="w",
                tls={"ssl_ca_certs": "/c"},
            ),
        ),
        ("rediss+cluster://a:1,[::2]", StoreAddress(DeploymentKind.CLUSTER, (("a", 1), ("::2", 6379)), tls={})),
    ],
    ids=str,
)
def test_every_form_of_address_is_understood(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_is_a_setting(scheme):
    url = "unix:///run/r.sock" if scheme == "unix" else f"{scheme}://store{tail(scheme)}"
    assert load({}, {"SIDECAR_REDIS_URL": url}).redis_url == url


PLAIN = [scheme for scheme in SCHEMES if scheme != "unix"]
MARKS = ("/", "#", "?", "@", "%", "[")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("user", ["", "default"])
@pytest.mark.parametrize("key", ["SIDECAR_REDIS_URL", "SIDECAR_REDIS_URL_FILE"])
def test_R24_an_unencoded_password_is_in_no_message(scheme, mark, user, key, tmp_path):
    """Before and behind the mark, for each scheme: rejected with the remedy, or accepted whole."""
    where = "/run/r.sock" if scheme == "unix" else f"h:1{tail(scheme)}"
    url = f"{scheme}://{user}:S3cretPart{mark}S3cretRest@{where}"
    (tmp_path / "url").write_text(url + "\n")
    env = {key: url if key == "SIDECAR_REDIS_URL" else str(tmp_path / "url")}
    if mark == "[":  # reserved, yet it ends nothing
        assert parse_address(url).password == "S3cretPart[S3cretRest"
        message = repr(load({}, env)) + repr(parse_address(url)) + masked(url)
    else:
        with pytest.raises(SettingsError) as caught:
            load({}, env)
        message = str(caught.value)
        assert key in message
        assert "percent-encode" in message
        assert "s3cret" not in masked(url).lower()
    assert "s3cret" not in message.lower()


@pytest.mark.parametrize("scheme", PLAIN)
@pytest.mark.parametrize(
    "url",
    [
        "{}://h{}?password=S3cret&nope=1",
        "{}://h{}?passwort=S3cret",
        "{}://h{}?S3cret",
        "{}://h{}?password=S3cret#S3cret",
        "{}://h{}?password=S3cret@x",
        "{}://u:S3cret",
        "{}://:S3cret{}",
        "{}://u:S3cret@h{}?password=S3cret",
        "{}://u:S3cret@h:port{}",
        "{}://u:S3cret@h{}?db=S3cret",
        "{}://h{}?password=a&s3cret=b",
        "{}://u:S3cret@h:99999{}",
        "{}://u:S3cret@h:0{}",
        "{}://u:S3cret@h,{}",
        "{}://u:S3cret@h{}?password=a+S3cret",
        "{}://h{}?password=S3cret&password=S3cret",
        "{}://u:S3cret@{}",
        "{}//u:S3cret@h{}",
        "{}://u:S3cret @h{}",
        "{}://u:S3cret@h{}\n",
    ],
)
def test_R24_no_message_about_a_bad_url_holds_its_secret(scheme, url):
    text = url.format(scheme, tail(scheme))
    message = rejected(text)
    assert "s3cret" not in message.lower()
    with pytest.raises(SettingsError) as caught:
        load({}, {"SIDECAR_REDIS_URL": text})
    assert "s3cret" not in str(caught.value).lower()
    assert "s3cret" not in masked(text).lower()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("redis://h/db0", "not a database number"),
        ("redis://h/-1", "not a database number"),
        ("redis://h/1/2", "not a database number"),
        ("redis://h?db=x", "query's db"),
        ("redis://h/0?db=3", "in the path and in the query"),
        ("redis://h/0?db=0", "in the path and in the query"),
        ("redis+cluster://h/1", "only database 0"),
        ("redis+cluster://h?db=1", "only database 0"),
        ("redis+sentinel://h", "names no master"),
        ("redis+sentinel://h/m/x", "not a database number"),
        ("redis+sentinel://h/m/0/1", "too many parts"),
        ("redis://a,b", "several hosts"),
        ("redis://", "no host"),
        ("redis://u@h", "user without a password"),
        ("unix://", "no absolute path"),
        ("unix://host/run/r.sock", "no host"),
        ("http://h", "rediss+cluster://"),
        ("redis://h?max_conections=5", "max_conections is not known"),
        ("redis://h?max_connections=5", "max_connections"),
        ("redis://h?socket_timeout=30", "socket_timeout"),
        ("redis://h?decode_responses=no", "decode_responses"),
        ("redis://h?ssl=true", "rediss://"),
        ("rediss://h?ssl_ca_cert=/c", "did you mean ssl_ca_certs"),
        ("rediss://h?ssl_cert_reqs=optional", "required or none"),
        ("rediss://h?ssl_check_hostname=perhaps", "true or false"),
        ("rediss://h?ssl_keyfile=/k", "requires ssl_certfile"),
        ("rediss://h?ssl_ca_certs=", "no value"),
        ("redis://h?ssl_ca_certs=/c", "requires TLS"),
        ("unix:///s?ssl_ca_certs=/c", "requires TLS"),
        ("redis://h?sentinel_username=u", "only for redis+sentinel://"),
        ("redis+cluster://h?sentinel_username=u", "only for redis+sentinel://"),
    ],
)
def test_a_url_that_names_no_store_is_rejected_with_the_remedy(text, part):
    assert part in rejected(text)


def test_a_good_url_is_shown_without_its_secrets():
    assert masked("redis://user:secret@host:6379/0") == "redis://…@host:6379/0"
    assert masked("redis+sentinel://a,b:2/m?password=secret") == "redis+sentinel://a,b:2/m?…"
    assert masked("nothing") == "…"


def test_R24_a_sentinels_password_is_a_secret_of_its_own(tmp_path):
    (tmp_path / "pw").write_text("redis://hunter2\n")
    plain = {"SIDECAR_REDIS_SENTINEL_PASSWORD": "redis://hunter2"}
    for env in (plain, {"SIDECAR_REDIS_SENTINEL_PASSWORD_FILE": str(tmp_path / "pw")}):
        settings = load({}, env | {"SIDECAR_REDIS_URL": "redis+sentinel://h/m"})
        assert settings.redis_sentinel_password == "redis://hunter2"
        assert "hunter2" not in repr(settings)
        assert problems(settings) == []
        elsewhere = problems(load({}, env | {"SIDECAR_REDIS_URL": "redis://h"}))
        assert ["SIDECAR_REDIS_SENTINEL_PASSWORD" in problem for problem in elsewhere] == [True]
