"""URL of the login page (SIDECAR_LOGIN_URL), and the redirect to it with the original request as a parameter."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

CONSOLE: Final = "/console/"
SIGN_IN: Final = CONSOLE + "sign-in"
"""The console's login page."""

STEP_UP_PAGE: Final = CONSOLE + "step-up"
"""The console's step-up page. Its sign-in page would lead a signed-in user back at once."""

STEP_UP: Final = "step_up"
"""Parameter of the step-up page with the name of the unmet condition."""

PARAMETER: Final = "rd"
"""Always the last parameter: a gateway that cannot escape the original request appends it as it is."""

MAX_URI: Final = 2048
"""Characters of a URI that is sent along. A longer redirect could exceed a gateway's header limit."""


@dataclass(frozen=True, slots=True)
class LoginPage:
    """Login URL, split once. ``path``: its path if it is on the dashboard's own origin, else empty.

    ``step_up_head``: the head for step-ups. It is that of another page only in the console.
    """

    url: str
    head: str
    step_up_head: str
    fragment: str
    path: str = ""

    def location(self, uri: str | None, step_up: str = "") -> str | None:
        """Return the URL of the redirect. ``uri`` is the original request target, or None if it is unknown.

        ``step_up``: name of the condition that the user should meet, if the user is signed in.

        None for a request of the login page itself: a gateway that checks this page would redirect to it forever.
        """
        if uri is not None and self._is_own(uri.partition("?")[0]):
            return None
        head = f"{self.step_up_head}{STEP_UP}={step_up}" if step_up else self.head
        if uri is None or len(uri) > MAX_URI:
            return head + self.fragment if step_up else self.url
        head += f"&{PARAMETER}=" if step_up else f"{PARAMETER}="
        return f"{head}{quote(uri, safe='', encoding='utf-8', errors='surrogateescape')}{self.fragment}"

    def _is_own(self, path: str) -> bool:
        return path == self.path or (self.path == SIGN_IN and path.startswith(CONSOLE))


def login_page(url: str, public_url: str) -> LoginPage:
    before, mark, after = url.partition("#")
    joint = "&" if "?" in before else "?"
    path = (urlsplit(url).path or "/") if _origin(url) == _origin(public_url) else ""
    step_up = before.replace(SIGN_IN, STEP_UP_PAGE, 1) if path == SIGN_IN else before
    return LoginPage(url, before + joint, step_up + joint, mark + after, path)


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
