"""URL of the login page (SIDECAR_LOGIN_URL), and the redirect to it with the original request as a parameter."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

PARAMETER: Final = "rd"
MAX_URI: Final = 2048
"""Characters of a URI that is sent along. A longer redirect could exceed a gateway's header limit."""


@dataclass(frozen=True, slots=True)
class LoginPage:
    """Login URL, split once."""

    url: str
    head: str
    fragment: str

    def location(self, uri: str | None) -> str:
        """Return the URL of the redirect. ``uri`` is the original request target, or None if it is unknown."""
        if uri is None or len(uri) > MAX_URI:
            return self.url
        return f"{self.head}{quote(uri, safe='', encoding='utf-8', errors='surrogateescape')}{self.fragment}"


def login_page(url: str) -> LoginPage:
    before, mark, after = url.partition("#")
    joint = "&" if "?" in before else "?"
    return LoginPage(url, f"{before}{joint}{PARAMETER}=", mark + after)
