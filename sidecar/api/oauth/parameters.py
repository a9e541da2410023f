"""Parameters of an OAuth request (RFC 6749 section 3.2): form or JSON.

Unknown ones are ignored, repeated ones rejected.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from sidecar.http.json_body import InvalidBodyError, strict_json
from sidecar.http.request import RawBody

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"
MAX_PARAMETERS: Final = 64
MAX_ESCAPES: Final = 6144
"""Percent signs of a form. A password of 1,024 emoji has 4,096; the rest is for an e-mail and a name."""

MAX_VALUE: Final = 16 * 1024
"""Characters of a parameter. A token of an external issuer is the longest."""


class InvalidRequestError(ValueError):
    """The request is malformed. The message is ASCII, safe to show, and names the remedy."""


class FormParameters:
    """Parameters of a request. An empty value counts as absent (RFC 6749 section 3.1)."""

    def __init__(self, sent: Mapping[str, Any]) -> None:
        self._sent = sent

    def optional(self, name: str) -> str | None:
        value = self._sent.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise InvalidRequestError(f"{name} must be a string")
        if len(value) > MAX_VALUE:
            raise InvalidRequestError(f"{name} must have at most {MAX_VALUE} characters")
        return value

    def required(self, name: str) -> str:
        value = self.optional(name)
        if value is None:
            raise InvalidRequestError(f"{name} is missing")
        return value


def read(body: RawBody) -> FormParameters:
    """Parse a body by its Content-Type. Raises InvalidRequestError."""
    media = body.content_type.partition(";")[0].strip().lower()
    if media == FORM:
        return FormParameters(_form(body.content))
    if media == JSON:
        return FormParameters(_json(body.content))
    raise InvalidRequestError(f"Content-Type must be {FORM} or {JSON}")


def _form(content: bytes) -> dict[str, str]:
    if content.count(b"%") > MAX_ESCAPES:
        raise InvalidRequestError(f"the form contains more than {MAX_ESCAPES} percent-encoded bytes; send JSON")
    try:
        text = content.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except ValueError:  # not ASCII, percent-encoded bytes that are not UTF-8, or too many
        raise InvalidRequestError("the body is not a form in UTF-8") from None
    sent = dict(pairs)
    if len(sent) != len(pairs):
        raise InvalidRequestError("a parameter is repeated")
    return sent


def _json(content: bytes) -> dict[str, Any]:
    try:
        sent = strict_json(content)
    except InvalidBodyError as error:
        raise InvalidRequestError(str(error)) from None
    if not isinstance(sent, dict):
        raise InvalidRequestError("the body is not a JSON object")
    return sent
