"""A person's second factors: an authenticator app by pyotp, and passkeys by the browser's virtual authenticator."""

import time
from dataclasses import dataclass, field
from typing import Any

import pyotp

from tests.console.site import Person, Site
from tests.console.visitor import Visitor

STEP = 30


@dataclass
class Phone:
    """Authenticator app. Each code is of a step that was not used before (R34)."""

    secret: str
    id: str = ""
    recovery_codes: list[str] = field(default_factory=list)
    _last: int = 0

    def code(self) -> str:
        """Return the next code: of this step, or of the next one, which the sidecar accepts early."""
        step = max(int(time.time()) // STEP, self._last + 1)
        while step > int(time.time()) // STEP + 1:
            time.sleep(0.2)
        self._last = step
        return str(pyotp.TOTP(self.secret).generate_otp(step))


def add_phone(site: Site, person: Person) -> Phone:
    """Add an authenticator app past the browser, in a session of its own."""
    bearer = {"Authorization": f"Bearer {site.token(person)}"}
    added = site.ask("POST", "/v1/me/factors/totp", None, **bearer)
    assert added.status == 201, added
    phone = Phone(added.body["secret"], added.body["id"])
    confirmed = site.ask("POST", f"/v1/me/factors/{phone.id}/confirm", {"code": phone.code()}, **bearer)
    assert confirmed.status == 200, confirmed
    phone.recovery_codes = confirmed.body["recovery_codes"]
    return phone


def add_authenticator(visitor: Visitor, *, verifies: bool = True) -> Any:
    """Give the visitor's tab a device for passkeys that confirms at once. Return its CDP session and id."""
    session = visitor.context.new_cdp_session(visitor.page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": verifies,
        "automaticPresenceSimulation": True,
    }
    made = session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return session, made["authenticatorId"]
