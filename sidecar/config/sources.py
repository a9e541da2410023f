"""Sources of settings: the command line, the environment, a file. They return texts; parsers.py interprets them.

Keys are checked against the table's names, and secrets are read from their ``…_file`` variants (R24). Each error is one
``SettingsError`` of one line with key, value and source. A value that may be a secret is masked.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

PREFIX = "SIDECAR_"
COMMAND_LINE = "command line"
ENVIRONMENT = "environment"


_HOSTS = r"(?:(?:\[[0-9A-Fa-f:.]*\]|[^:\[\]@,]+)(?::[0-9]{1,5})?(?:,|$))*"


class SettingsError(Exception):
    """Raised for an invalid setting; the start stops. The message is one line for the operator."""


@dataclass(frozen=True, slots=True)
class RawValues:
    """Text of a setting as written. ``key`` is the name in the spelling of its source."""

    key: str
    text: str
    place: str
    file: Path | None = None
    """File from which a secret's text was read."""

    @property
    def source(self) -> str:
        return f"{self.place}: {self.key}"

    def complaint(self, what: str, *, secret: bool) -> SettingsError:
        return SettingsError(
            f"{self.key} = {quoted(mask(self.text, self.key) if secret else self.text)} ({self.place}): {what}"
        )


@dataclass(frozen=True, slots=True)
class SettingNames:
    """Setting names of the table: all of them, and the secret ones."""

    all: frozenset[str]
    secrets: frozenset[str]


def gather(
    flags: Mapping[str, str | None], env: Mapping[str, str], names: SettingNames
) -> tuple[dict[str, RawValues], tuple[str, ...]]:
    """Return the texts by setting name, with the precedence of sources applied, and warnings about ignored input.

    Raises SettingsError.
    """
    from_flags = _checked(
        {name: RawValues(spell_flag(name), text, COMMAND_LINE) for name, text in flags.items() if text is not None},
        names,
    )
    from_env, warnings = _environment(env)
    from_env = _checked(from_env, names)
    config = from_flags.pop("config", None) or from_env.pop("config", None)
    from_env.pop("config", None)
    from_file = _checked(_file(config), names) if config and config.text else {}
    return {**from_file, **from_env, **from_flags}, warnings


def spell_env(name: str) -> str:
    return PREFIX + name.upper()


def spell_flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _environment(env: Mapping[str, str]) -> tuple[dict[str, RawValues], tuple[str, ...]]:
    raw, warnings = {}, []
    for key in sorted(key for key in env if key.startswith(PREFIX)):
        if _service_link(key, env[key]):
            warnings.append(f"{key} is a service link of Kubernetes, not a setting: ignored")
            continue
        name = key.removeprefix(PREFIX).lower()
        if not _is_utf8(env[key]):
            raise SettingsError(f"{quoted(key)} ({ENVIRONMENT}): the value is not UTF-8: write it in UTF-8")
        raw[name if key == spell_env(name) else key] = RawValues(key, env[key], ENVIRONMENT)
    return raw, tuple(warnings)


def _is_utf8(text: str) -> bool:
    """Return False for undecodable input: lone surrogates cannot be written to logs or responses."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _service_link(key: str, text: str) -> bool:
    """Return True for a variable that Kubernetes sets in each pod for a service named ``sidecar…``."""
    if re.fullmatch(r"SIDECAR_(\w+_)?PORT(_\d+_(TCP|UDP|SCTP))?", key, re.ASCII) and "://" in text:
        return True
    kin = r"SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)"
    return re.fullmatch(rf"SIDECAR_(\w+_)?({kin})", key, re.ASCII) is not None


def _file(config: RawValues) -> dict[str, RawValues]:
    place = config.text
    try:
        document = tomllib.loads(Path(place).read_bytes().decode())
    except OSError as error:
        raise config.complaint(f"the file cannot be read: {error.strerror}", secret=False) from None
    except UnicodeDecodeError:
        raise config.complaint("the file is not UTF-8", secret=False) from None
    except tomllib.TOMLDecodeError as error:
        raise config.complaint(f"the file is not TOML: {error}", secret=False) from None
    # `config` is not a setting in a file: it would name another file.
    stray = {"config": "config (in a file)"}
    return {stray.get(key, key): RawValues(key, _as_text(key, value, place), place) for key, value in document.items()}


def _as_text(key: str, value: object, place: str) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case list() if all(isinstance(part, str) for part in value):
            return ",".join(value)
        case _:
            kind = "a table" if isinstance(value, dict) else f"a {type(value).__name__}"
            raise SettingsError(f"{key} ({place}): is {kind}: settings are flat, a text, a whole number, true or false")


def _checked(raw: dict[str, RawValues], names: SettingNames) -> dict[str, RawValues]:
    """Check the names of one source, and replace each ``…_file`` of a secret by the content of its file."""
    result: dict[str, RawValues] = {}
    for name, it in raw.items():
        secret = name.removesuffix("_file")
        if name in names.all or name == "config":
            result[name] = it
        elif secret == name or secret not in names.secrets:
            raise _unknown(name, it, names)
        elif secret in raw:
            raise SettingsError(f"{raw[secret].key} and {it.key} ({it.place}): one secret in two places: remove one")
        else:
            result[secret] = RawValues(it.key, _secret(it), it.place, Path(it.text).absolute())
    return result


def _secret(it: RawValues) -> str:
    try:
        return Path(it.text).read_bytes().decode().rstrip("\r\n")
    except OSError as error:
        raise it.complaint(f"the secret's file cannot be read: {error.strerror}", secret=False) from None
    except UnicodeDecodeError:
        raise it.complaint("the secret's file is not UTF-8", secret=False) from None


def _unknown(name: str, it: RawValues, names: SettingNames) -> SettingsError:
    spell: Callable[[str], str] = {ENVIRONMENT: spell_env, COMMAND_LINE: spell_flag}.get(it.place, str)
    known = [*names.all, *(f"{secret}_file" for secret in names.secrets), "config"]
    wanted = name.lower().removeprefix(PREFIX.lower()).replace("-", "_")
    near = difflib.get_close_matches(wanted, sorted(known), n=1, cutoff=0.6)
    hint = f"did you mean {spell(near[0])}?" if near else "`sidecar config` lists them"
    risky = re.search(r"pass|secret|token|key|url|auth|pepper|cred", name.lower()) or "@" in it.text
    return it.complaint(f"unknown setting: {hint}", secret=bool(risky))


def quoted(text: str) -> str:
    """Return any text as one quoted line of at most about 120 characters."""
    return json.dumps(text if len(text) <= 120 else text[:117] + "…", ensure_ascii=True)


def mask(text: str, key: str = "") -> str:
    """Return a secret in displayable form: scheme and hosts of a URL, ``***`` for any other text.

    If the parts of a URL are ambiguous, as with a password that is not percent-encoded, only the scheme is shown.
    ``key``: a password's value is never treated as a URL.
    """
    if "password" in key.lower():
        return "***" if text else ""
    match = re.fullmatch(r"(\w{2,20}(?:\+\w{2,20})?://)([^/?#]*)([^?#]*)(\?.*)?", text, re.ASCII | re.DOTALL)
    if match is None:
        return "***" if text else ""
    scheme, authority, path, query = match.groups()
    _, at, hosts = authority.rpartition("@")
    if "@" in path or "@" in (query or "") or not re.fullmatch(_HOSTS, hosts) or not text.isprintable():
        return f"{scheme}***"
    return f"{scheme}{'***@' if at else ''}{hosts}{path}{'?***' if query else ''}"
