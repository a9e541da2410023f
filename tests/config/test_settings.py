"""The table of settings: precedence, sources, and errors with key, value, place and remedy."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config import parsers as v
from sidecar.config.problems import problems
from sidecar.config.settings import ROWS, Row, Settings, SettingsError, load
from sidecar.config.sources import mask
from sidecar.sources.policy_files import packaged


def refused(flags: Mapping[str, str | None] | None = None, env: Mapping[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(flags or {}, env or {})
    message = str(caught.value)
    assert "\n" not in message, "one line"
    return message


def source(settings: Settings, name: str) -> str:
    return next(value.source for value in settings.values if value.name == name)


def text(settings: Settings, name: str) -> str:
    return next(value.text for value in settings.values if value.name == name)


def test_defaults_are_the_contract() -> None:
    settings = load({}, {})
    assert str(settings.listen) == "127.0.0.1:9181"
    assert str(settings.ops_listen) == "127.0.0.1:9182"
    assert settings.check_listen is None
    assert settings.grpc_listen is None
    assert settings.public_url == settings.issuer == "http://127.0.0.1:9181"
    assert settings.audience == "dashboard"
    assert settings.redis_url is None
    assert (settings.state_dir, settings.keys_dir) == (Path(".sidecar"), Path(".sidecar/keys"))
    assert (settings.access_ttl, settings.refresh_ttl, settings.invite_ttl) == (900, 30 * 86400, 7 * 86400)
    assert (settings.lease, settings.drain, settings.workers, settings.leeway) == (1.0, 2.0, 1, 5)
    assert settings.unavailable_status == 403
    assert (settings.console, settings.fast_lane, settings.plaintext, settings.embedded) == (True, True, False, False)
    assert (settings.max_body, settings.max_head) == (65536, 32768)
    assert settings.trusted_proxies == ()
    assert settings.decision_log == v.DecisionLogTarget(enabled=True)
    assert problems(settings) == []
    assert (*settings.warnings, *settings.doubts) == ()


def test_every_setting_shows_value_and_source() -> None:
    settings = load({}, {})
    assert [value.name for value in settings.values] == list(ROWS)
    assert {value.source for value in settings.values} == {"default"}
    fields = {field.name for field in dataclasses.fields(Settings)}
    assert fields - set(ROWS) == {"values", "secret_files", "warnings", "doubts"}


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = tmp_path / "sidecar.toml"
    file.write_text('lease = "2s"\ndrain = "3s"\naudience = "file"\nworkers = 2\nfast_lane = false\n')
    env = {"SIDECAR_CONFIG": str(file), "SIDECAR_DRAIN": "4s", "SIDECAR_AUDIENCE": "env", "PATH": "/bin"}
    settings = load({"audience": "flag", "drain": None}, env)
    assert (settings.lease, settings.drain, settings.audience, settings.workers) == (2.0, 4.0, "flag", 2)
    assert settings.fast_lane is False
    assert source(settings, "audience") == "command line: --audience"
    assert source(settings, "drain") == "environment: SIDECAR_DRAIN"
    assert source(settings, "lease") == f"{file}: lease"
    assert source(settings, "access_ttl") == "default"


def test_config_flag_beats_config_variable(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(f'audience = "{name}"\n')
    settings = load({"config": str(tmp_path / "one")}, {"SIDECAR_CONFIG": str(tmp_path / "two")})
    assert settings.audience == "one"


def test_derived_defaults_follow_what_they_are_made_of() -> None:
    settings = load({}, {"SIDECAR_LISTEN": "[::1]:8000", "SIDECAR_STATE_DIR": "/var/lib/sidecar"})
    assert settings.public_url == settings.issuer == "http://[::1]:8000"
    assert settings.keys_dir == Path("/var/lib/sidecar/keys")
    assert load({}, {"SIDECAR_PUBLIC_URL": "https://Login.Example.com/"}).issuer == "https://login.example.com"
    assert load({}, {"SIDECAR_LISTEN": "unix:/run/s.sock"}).public_url == "http://localhost"
    tls = load({}, {"SIDECAR_TLS_CERT": "c.pem", "SIDECAR_TLS_KEY": "k.pem"})
    assert tls.public_url == "https://127.0.0.1:9181"


@pytest.mark.parametrize(
    ("env", "parts"),
    [
        ({"SIDECAR_LESE": "2s"}, ["SIDECAR_LESE", '"2s"', "environment", "SIDECAR_LEASE"]),
        ({"SIDECAR_lease": "2s"}, ["SIDECAR_lease", "SIDECAR_LEASE"]),
        ({"SIDECAR_PORT": "9181"}, ["SIDECAR_PORT", '"9181"', "unknown setting"]),
        ({"SIDECAR_LEASE": "2"}, ["SIDECAR_LEASE", '"2"', "environment", "1s"]),
        ({"SIDECAR_LEASE": "-1s"}, ["SIDECAR_LEASE", "duration"]),
        ({"SIDECAR_LEASE": "40s"}, ["SIDECAR_LEASE", "from 100ms to 30s"]),
        ({"SIDECAR_REFRESH_TTL": "91d"}, ["SIDECAR_REFRESH_TTL", "from 1s to 90d"]),
        ({"SIDECAR_ACCESS_TTL": "1500ms"}, ["SIDECAR_ACCESS_TTL", "whole seconds"]),
        ({"SIDECAR_LISTEN": ":9181"}, ["SIDECAR_LISTEN", "no host", "0.0.0.0"]),
        ({"SIDECAR_LISTEN": "9181"}, ["SIDECAR_LISTEN", "no port"]),
        ({"SIDECAR_LISTEN": "127.0.0.1:99999"}, ["SIDECAR_LISTEN", "65535"]),
        ({"SIDECAR_LISTEN": "::1:9181"}, ["SIDECAR_LISTEN", "brackets"]),
        ({"SIDECAR_LISTEN": "[127.0.0.1]:9181"}, ["SIDECAR_LISTEN", "brackets"]),
        ({"SIDECAR_LISTEN": "example.com:9181"}, ["SIDECAR_LISTEN", "IP address"]),
        ({"SIDECAR_LISTEN": "unix:relative"}, ["SIDECAR_LISTEN", "absolute"]),
        ({"SIDECAR_LISTEN": ""}, ["SIDECAR_LISTEN", '""']),
        ({"SIDECAR_LISTEN": f"unix:/{'x' * 120}"}, ["SIDECAR_LISTEN", "100 bytes"]),
        ({"SIDECAR_MAX_BODY": "64 kilobytes"}, ["SIDECAR_MAX_BODY", "64KiB"]),
        ({"SIDECAR_MAX_BODY": "1"}, ["SIDECAR_MAX_BODY", "from 1KiB to 16MiB"]),
        ({"SIDECAR_FAST_LANE": "maybe"}, ["SIDECAR_FAST_LANE", "true or false"]),
        ({"SIDECAR_WORKERS": "0"}, ["SIDECAR_WORKERS", "from 1 to 64"]),
        ({"SIDECAR_UNAVAILABLE_STATUS": "200"}, ["SIDECAR_UNAVAILABLE_STATUS", "403 or 503"]),
        ({"SIDECAR_LOG_LEVEL": "loud"}, ["SIDECAR_LOG_LEVEL", "debug, info, warning, error"]),
        ({"SIDECAR_PUBLIC_URL": "login.example.com"}, ["SIDECAR_PUBLIC_URL", "https://"]),
        ({"SIDECAR_PUBLIC_URL": "https://x.example/app"}, ["SIDECAR_PUBLIC_URL", "alone"]),
        ({"SIDECAR_PUBLIC_URL": "https://a@x.example"}, ["SIDECAR_PUBLIC_URL", "alone"]),
        ({"SIDECAR_PUBLIC_URL": "https://[x"}, ["SIDECAR_PUBLIC_URL", "https://"]),
        ({"SIDECAR_AUDIENCE": "two words"}, ["SIDECAR_AUDIENCE", "word"]),
        ({"SIDECAR_AUDIENCE": ""}, ["SIDECAR_AUDIENCE", "word"]),
        ({"SIDECAR_SEAT_CONTACT": "a\nb"}, ["SIDECAR_SEAT_CONTACT", r"a\nb"]),
        ({"SIDECAR_TRUSTED_PROXIES": "10.0.0.1/8"}, ["SIDECAR_TRUSTED_PROXIES", "10.0.0.0/8"]),
        ({"SIDECAR_STATE_DIR": ""}, ["SIDECAR_STATE_DIR", "path"]),
        ({"SIDECAR_REDIS_URL": "http://x"}, ["SIDECAR_REDIS_URL", "rediss://"]),
        ({"SIDECAR_REDIS_URL": "redis://"}, ["SIDECAR_REDIS_URL", "no host"]),
        ({"SIDECAR_REDIS_URL": "unix://"}, ["SIDECAR_REDIS_URL", "no absolute path"]),
        ({"SIDECAR_DECISION_LOG": "stdout,allows=7"}, ["SIDECAR_DECISION_LOG", "from 0 to 1"]),
        ({"SIDECAR_DECISION_LOG": ""}, ["SIDECAR_DECISION_LOG", "stdout"]),
        ({"SIDECAR_CONFIG": "/nonexistent/x.toml"}, ["SIDECAR_CONFIG", "/nonexistent/x.toml", "No such file"]),
    ],
    ids=str,
)
def test_bad_settings_name_key_value_place_and_remedy(env: dict[str, str], parts: list[str]) -> None:
    message = refused(env=env)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"leese = '2s'\n", ["leese", "lease"]),
        (b"ops-listen = '127.0.0.1:1'\n", ["ops-listen", "ops_listen"]),
        (b"lease = 2\n", ["lease", '"2"', "500ms"]),
        (b"lease = 2.5\n", ["lease", "float"]),
        (b"[serve]\nlease = '1s'\n", ["serve", "table"]),
        (b"config = 'other.toml'\n", ["config", "unknown setting"]),
        (b"lease = \n", ["not TOML", "line 1"]),
        (b"\xff\xfe", ["UTF-8"]),
    ],
    ids=str,
)
def test_bad_file_names_key_and_file(tmp_path: Path, content: bytes, parts: list[str]) -> None:
    file = tmp_path / "sidecar.toml"
    file.write_bytes(content)
    message = refused({"config": str(file)})
    for part in [str(file), *parts]:
        assert part in message


def test_folder_as_file_is_refused(tmp_path: Path) -> None:
    assert "directory" in refused({"config": str(tmp_path)})


def test_flags_are_named_as_flags() -> None:
    assert refused({"lease": "x"}).startswith('--lease = "x" (command line)')
    assert "--ops-listen" in refused({"ops_listn": "x"})


def test_lists_from_text_and_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "sidecar.toml"
    file.write_text('trusted_proxies = ["10.0.0.0/8", "::1"]\n')
    expected = ["10.0.0.0/8", "::1/128"]
    assert [str(network) for network in load({"config": str(file)}, {}).trusted_proxies] == expected
    from_env = load({}, {"SIDECAR_TRUSTED_PROXIES": "10.0.0.0/8, ::1"})
    assert [str(network) for network in from_env.trusted_proxies] == expected


def test_empty_text_is_none_where_none_is_a_value() -> None:
    empty = {"SIDECAR_REDIS_URL": "", "SIDECAR_CHECK_LISTEN": "", "SIDECAR_LOGIN_URL": "", "SIDECAR_TLS_CERT": ""}
    settings = load({}, empty)
    assert (settings.redis_url, settings.check_listen, settings.login_url, settings.tls_cert) == (None,) * 4


PUBLIC_URL = "https://login.example.com"


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, None),
        ({"LISTEN": "127.0.0.1:9000"}, None),
        ({"PUBLIC_URL": PUBLIC_URL}, f"{PUBLIC_URL}/console/sign-in"),
        ({"PUBLIC_URL": f"{PUBLIC_URL}:443/"}, f"{PUBLIC_URL}/console/sign-in"),
        ({"PUBLIC_URL": "http://127.0.0.1:9181"}, "http://127.0.0.1:9181/console/sign-in"),
        ({"PUBLIC_URL": PUBLIC_URL, "CONSOLE": "false"}, None),
        ({"PUBLIC_URL": PUBLIC_URL, "LOGIN_URL": ""}, None),
        ({"PUBLIC_URL": PUBLIC_URL, "LOGIN_URL": "https://sso.example/in"}, "https://sso.example/in"),
        ({"LOGIN_URL": "https://sso.example/in", "CONSOLE": "false"}, "https://sso.example/in"),
    ],
)
def test_the_login_url_defaults_to_the_console(env: dict[str, str], expected: str | None) -> None:
    settings = load({}, {f"SIDECAR_{name}": text for name, text in env.items()})
    assert settings.login_url == expected
    shown = next(value for value in settings.values if value.name == "login_url")
    assert (shown.text or None, shown.source == "default") == (expected, "LOGIN_URL" not in env)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("https://sso.example/in?rd=/home", "parameter rd, which the sidecar adds: remove it"),
        ("https://sso.example/in?theme=dark&rd=", "parameter rd, which the sidecar adds: remove it"),
        ("https://sso.example:99999/in", "the port is not a number from 0 to 65535"),
        ("/console/sign-in", "write a URL that starts with http://, https://"),
    ],
)
def test_an_unusable_login_url_names_its_remedy(text: str, remedy: str) -> None:
    message = refused(env={"SIDECAR_LOGIN_URL": text})
    assert remedy in message
    assert "SIDECAR_LOGIN_URL" in message


def test_kubernetes_service_links_are_ignored_with_a_warning() -> None:
    links = {
        "SIDECAR_PORT": "tcp://10.96.0.12:9181",
        "SIDECAR_SERVICE_HOST": "10.96.0.12",
        "SIDECAR_SERVICE_PORT": "9181",
        "SIDECAR_SERVICE_PORT_HTTP": "9181",
        "SIDECAR_PORT_9181_TCP": "tcp://10.96.0.12:9181",
        "SIDECAR_PORT_9181_TCP_PROTO": "tcp",
        "SIDECAR_PORT_9181_TCP_PORT": "9181",
        "SIDECAR_PORT_9181_TCP_ADDR": "10.96.0.12",
        "SIDECAR_OPS_SERVICE_HOST": "10.96.0.13",
        "SIDECAR_OPS_PORT": "udp://10.96.0.13:9182",
    }
    settings = load({}, links)
    assert len(settings.warnings) == len(links)
    assert all(any(warning.startswith(f"{key} ") for warning in settings.warnings) for key in links)
    assert {value.source for value in settings.values} == {"default"}


def test_wildcard_listener_without_public_url_is_doubted() -> None:
    env = {"SIDECAR_LISTEN": "0.0.0.0:9181"}
    assert any("SIDECAR_PUBLIC_URL" in warning for warning in load({}, env).doubts)
    behind = {**env, "SIDECAR_PUBLIC_URL": "https://login.example.com", "SIDECAR_TRUSTED_PROXIES": "10.0.0.0/8"}
    assert load({}, behind).doubts == ()


def test_R7_an_untrusted_gateway_in_front_is_a_warning() -> None:
    env = {"SIDECAR_PUBLIC_URL": "https://login.example.com"}
    assert ["SIDECAR_TRUSTED_PROXIES is empty" in warning for warning in load({}, env).doubts] == [True]
    assert load({}, {**env, "SIDECAR_TRUSTED_PROXIES": "127.0.0.1"}).doubts == ()
    assert load({}, {**env, "SIDECAR_TLS_CERT": "cert.pem", "SIDECAR_TLS_KEY": "key.pem"}).doubts == (), "no gateway"
    assert load({}, {"SIDECAR_LISTEN": "127.0.0.1:8000"}).doubts == ()


def test_R24_secret_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "redis"
    secret.write_text("redis://:hunter2@store:6379/0\n")
    settings = load({}, {"SIDECAR_REDIS_URL_FILE": str(secret)})
    assert settings.redis_url == "redis://:hunter2@store:6379/0"
    assert source(settings, "redis_url") == "environment: SIDECAR_REDIS_URL_FILE"
    assert load({"redis_url_file": str(secret)}, {}).redis_url == settings.redis_url
    file = tmp_path / "sidecar.toml"
    file.write_text(f'redis_url_file = "{secret}"\n')
    assert load({"config": str(file)}, {}).redis_url == settings.redis_url
    # Only secrets have such a variant: another setting's name with _FILE is an error.
    assert "unknown setting" in refused(env={"SIDECAR_AUDIENCE_FILE": str(secret)})


def test_R24_secret_in_two_places_at_once_is_refused(tmp_path: Path) -> None:
    message = refused(env={"SIDECAR_REDIS_URL": "redis://:hunter2@a", "SIDECAR_REDIS_URL_FILE": str(tmp_path)})
    assert "SIDECAR_REDIS_URL_FILE" in message
    assert "hunter2" not in message


def test_R24_unreadable_secret_file_is_named(tmp_path: Path) -> None:
    message = refused(env={"SIDECAR_SMTP_URL_FILE": str(tmp_path / "gone")})
    assert "SIDECAR_SMTP_URL_FILE" in message
    assert "No such file" in message
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    assert "UTF-8" in refused(env={"SIDECAR_SMTP_URL_FILE": str(tmp_path / "bytes")})


@pytest.mark.parametrize(
    "env",
    [
        {"SIDECAR_REDIS_URL": "redis//:hunter2@store"},
        {"SIDECAR_REDIS_ULR": "redis://:hunter2@store"},
        {"SIDECAR_PASSWORD": "hunter2"},
        {"SIDECAR_SECRET_SAUCE": "hunter2"},
        {"SIDECAR_SMTP_URL": "imap://me:hunter2@store"},
        {"SIDECAR_SMTP_URL": "hunter2"},
        {"SIDECAR_REDIS_URL": "redis://u:hunter2@\n"},
    ],
    ids=str,
)
def test_R24_errors_mask_secrets(env: dict[str, str]) -> None:
    message = refused(env=env)
    assert "hunter2" not in message
    assert next(iter(env)) in message


def test_R24_secrets_are_masked_in_values_and_representation() -> None:
    env = {"SIDECAR_REDIS_URL": "redis://store:6379/0?password=hunter2", "SIDECAR_SMTP_URL": "smtp://a:hunter2@m"}
    settings = load({}, {**env, "SIDECAR_MAIL_FROM": "a@b.example"})
    assert text(settings, "redis_url") == "redis://store:6379/0?***"
    assert text(settings, "smtp_url") == "smtp://***@m"
    assert "hunter2" not in repr(settings)


@given(st.text(min_size=1), st.text(), st.text())
def test_R24_mask_never_shows_a_password(user: str, password: str, rest: str) -> None:
    marked = f"<{password}>"
    shown = mask(f"redis://{user}:{marked}@store/{rest}")
    assert marked not in shown or marked in f"store/{rest}"
    assert marked not in mask(f"redis://store/0?password={marked}")


@pytest.mark.parametrize("name", ["listen", "ops_listen", "check_listen", "grpc_listen"])
def test_R23_beyond_loopback_needs_consent(name: str) -> None:
    bare = {f"SIDECAR_{name.upper()}": "0.0.0.0:7000"}
    both = problems(load({}, bare))
    assert any("SIDECAR_EMBEDDED=true" in problem for problem in both)
    assert any("SIDECAR_PLAINTEXT=true" in problem for problem in both)
    assert all(f"SIDECAR_{name.upper()}=0.0.0.0:7000" in problem for problem in both)
    store = {"SIDECAR_REDIS_URL": "redis://store"}
    assert len(problems(load({}, {**bare, **store}))) == 1
    assert problems(load({}, {**bare, **store, "SIDECAR_PLAINTEXT": "true"})) == []
    assert problems(load({}, {**bare, "SIDECAR_EMBEDDED": "true", "SIDECAR_PLAINTEXT": "true"})) == []


def test_R23_tls_frees_every_listener_but_ops() -> None:
    tls = {"SIDECAR_TLS_CERT": "c", "SIDECAR_TLS_KEY": "k", "SIDECAR_REDIS_URL": "redis://store"}
    assert problems(load({}, {**tls, "SIDECAR_LISTEN": "0.0.0.0:1", "SIDECAR_GRPC_LISTEN": "[::]:2"})) == []
    assert "SIDECAR_OPS_LISTEN" in problems(load({}, {**tls, "SIDECAR_OPS_LISTEN": "0.0.0.0:1"}))[0]


@pytest.mark.parametrize("at", ["127.0.0.1:0", "127.9.9.9:1", "[::1]:1", "localhost:1", "unix:/run/sidecar.sock"])
def test_R23_loopback_and_unix_sockets_need_no_consent(at: str) -> None:
    assert problems(load({}, {"SIDECAR_LISTEN": at})) == []


@pytest.mark.parametrize(
    ("env", "part"),
    [
        ({"SIDECAR_TLS_CERT": "c"}, "set both or neither"),
        ({"SIDECAR_TLS_CLIENT_CA": "c"}, "SIDECAR_TLS_CLIENT_CA needs"),
        ({"SIDECAR_SMTP_URL": "smtp://m"}, "SIDECAR_MAIL_FROM"),
        ({"SIDECAR_OPS_LISTEN": "127.0.0.1:9181"}, "the address is already used by"),
        ({"SIDECAR_LISTEN": "127.0.0.1:0", "SIDECAR_WORKERS": "2"}, "SIDECAR_LISTEN=127.0.0.1:0: 2 workers need"),
        ({"SIDECAR_CHECK_LISTEN": "[::1]:0", "SIDECAR_WORKERS": "3"}, "SIDECAR_CHECK_LISTEN=[::1]:0: 3 workers"),
        ({"SIDECAR_GRPC_LISTEN": "127.0.0.1:0", "SIDECAR_WORKERS": "2"}, "set one, or SIDECAR_WORKERS=1"),
    ],
)
def test_settings_that_do_not_fit_together(env: dict[str, str], part: str) -> None:
    assert any(part in problem for problem in problems(load({}, env)))


def test_port_0_is_accepted_for_a_single_process() -> None:
    assert problems(load({}, {"SIDECAR_LISTEN": "127.0.0.1:0"})) == []
    assert problems(load({}, {"SIDECAR_OPS_LISTEN": "127.0.0.1:0", "SIDECAR_WORKERS": "2"})) == []


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("1s", 1), ("500ms", 0.5), ("15m", 900), ("1h30m", 5400), ("30d", 30 * 86400), ("0s", 0), ("0ms", 0)],
)
def test_durations(written: str, seconds: float) -> None:
    assert v.duration(0, 90 * 86400)(written) == seconds


@pytest.mark.parametrize("written", ["", "1", "1 s", "s", "1.5s", "-1s", "1S", "１s", "1s ", "1s\n", "1sec"])
def test_no_durations(written: str) -> None:
    with pytest.raises(v.InvalidValueError):
        v.duration(0, 90 * 86400)(written)


@pytest.mark.parametrize(("written", "size"), [("65536", 65536), ("64KiB", 65536), ("64 KiB", 65536), ("1MB", 10**6)])
def test_sizes(written: str, size: int) -> None:
    assert v.size(0, 2**30)(written) == size


@pytest.mark.parametrize("written", ["off", "stdout", "stdout,allows=0.1", "/var/log/decisions.jsonl,allows=0"])
def test_decision_log_reads_what_it_writes(written: str) -> None:
    assert str(v.decision_log(written)) == written


@pytest.mark.parametrize("written", ["127.0.0.1:9181", "[::1]:0", "0.0.0.0:80", "localhost:1", "unix:/run/s.sock"])
def test_addresses_read_what_they_write(written: str) -> None:
    assert str(v.address(written)) == written


@given(st.sampled_from(sorted(ROWS)), st.text(max_size=60))
def test_no_text_breaks_the_reader(name: str, written: str) -> None:
    try:
        load({name: written}, {})
    except SettingsError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://Dash.example.com:443", "https://dash.example.com"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("https://dash.example.com:8443", "https://dash.example.com:8443"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[::1]:9181", "http://[::1]:9181"),
    ],
)
def test_R5_the_public_url_is_spelt_as_a_browsers_origin(written: str, origin: str) -> None:
    assert load({}, {"SIDECAR_PUBLIC_URL": written}).public_url == origin


@pytest.mark.parametrize("written", ["https://dash.example.com:99999", "https://a..b\u00fc.example"])
def test_a_public_url_that_no_browser_could_match_is_refused(written: str) -> None:
    with pytest.raises(SettingsError, match="SIDECAR_PUBLIC_URL"):
        load({}, {"SIDECAR_PUBLIC_URL": written})


@pytest.mark.parametrize("begun", ["folder", "file", "link", "model", "model-link"])
def test_R25_the_packaged_policy_never_replaces_a_local_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make = {
        "folder": lambda: Path("policy").mkdir(),
        "file": lambda: Path("policy").write_text("x"),
        "link": lambda: Path("policy").symlink_to("..data"),
        "model": lambda: Path("model.conf").write_text("x"),
        "model-link": lambda: Path("model.conf").symlink_to("..data/model.conf"),
    }
    make[begun]()
    settings = load({}, {})
    assert (settings.policy_dir, settings.model) == (Path("policy"), Path("model.conf"))
    assert settings.without_policy == ""


def test_R25_an_unreadable_folder_may_hold_a_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "lstat", refused)
    assert load({}, {}).policy_dir == Path("policy")


def test_where_no_policy_is_the_packaged_one_is_taken_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load({}, {})
    assert (settings.policy_dir, settings.model) == packaged()
    assert settings.without_policy == f"no ./policy: using the packaged policy, {packaged()[0]}"
    assert load({"policy_dir": "elsewhere"}, {}).without_policy == ""
    assert load({"policy_dir": str(packaged()[0])}, {}).without_policy == "", "set explicitly"


def test_a_lease_that_would_spin_is_refused() -> None:
    with pytest.raises(SettingsError, match="100ms"):
        load({}, {"SIDECAR_LEASE": "0s"})


def _files() -> list[str]:
    """Every setting that names a file or a folder."""

    def parsed(row: Row) -> object:
        try:
            return row.parse("./a")
        except v.InvalidValueError:
            return None

    return [name for name, row in ROWS.items() if isinstance(parsed(row), Path | v.DecisionLogTarget)]


def test_the_settings_that_name_files_are_known() -> None:
    names = "tls_cert tls_key tls_client_ca state_dir keys_dir policy_dir model trusted_issuers decision_log"
    assert set(_files()) >= set(names.split())


WORDS = ["none", "None", "false", "FALSE", "0", "no", "true", "1", "stderr", "stdin", "null", "-", "disabled"]


@pytest.mark.parametrize("name", _files())
@pytest.mark.parametrize("word", [*WORDS, '"off"', "'none'", " none ", "\tno"])
def test_a_word_for_off_is_no_files_name(name: str, word: str) -> None:
    for flags, env in (({name: word}, {}), ({}, {f"SIDECAR_{name.upper()}": word})):
        with pytest.raises(SettingsError) as refused:
            load(flags, env)
        assert "\n" not in str(refused.value)
        assert "./" in str(refused.value)
    if name == "decision_log":
        assert "off, stdout or a file" in str(refused.value)


@pytest.mark.parametrize("name", _files())
@pytest.mark.parametrize("word", ["./none", "/var/log/off", "./0", "none.log", "offline", "10"])
def test_a_file_of_such_a_name_is_written_with_its_folder(name: str, word: str) -> None:
    assert word.removeprefix("./") in str(getattr(load({name: word}, {}), name))


@pytest.mark.parametrize("word", ["none", "off", "stdout"])
def test_a_share_of_allows_makes_no_file_of_a_word_either(word: str) -> None:
    if word == "stdout":
        assert load({"decision_log": "stdout,allows=0.5"}, {}).decision_log.path is None
        return
    with pytest.raises(SettingsError):
        load({"decision_log": f"{word},allows=0.5"}, {})


@pytest.mark.parametrize("name", ["state_dir", "redis_url", "seat_contact", "issuer", "config", "redis_url_file"])
def test_a_value_that_is_no_utf8_is_one_line_without_it(name: str) -> None:
    with pytest.raises(SettingsError, match=f"SIDECAR_{name.upper()}.*not UTF-8") as refused:
        load({}, {f"SIDECAR_{name.upper()}": "secret\udcff"})
    assert "secret" not in str(refused.value)
