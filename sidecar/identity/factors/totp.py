"""One-time codes of an authenticator app (RFC 6238): 6 digits, 30 seconds, SHA-1, as all apps expect.

A code is compared with the current step and its two neighbours. The store accepts each step once (R34).
"""

import base64
import hmac
import io
from typing import Final

import pyotp
import segno

SECRET_BYTES: Final = 20
STEP_SECONDS: Final = 30
DIGITS: Final = 6
ISSUER: Final = "policy-sidecar"

_QR_SCALE: Final = 4
_QR_BORDER: Final = 4


def secret_text(secret: bytes) -> str:
    """Return the secret in base32, as typed into an app."""
    return base64.b32encode(secret).decode("ascii").rstrip("=")


def provisioning_uri(secret: bytes, *, account: str, email: str) -> str:
    """Return the ``otpauth:`` URI. ``account``: its name, shown in the app."""
    uri: str = pyotp.TOTP(secret_text(secret)).provisioning_uri(name=email, issuer_name=account or ISSUER)
    return uri


def qr_svg(uri: str) -> str:
    """Return a QR code of ``uri`` as an SVG document, without any script or style."""
    image = io.BytesIO()
    segno.make(uri, error="m", micro=False).save(
        image, kind="svg", scale=_QR_SCALE, border=_QR_BORDER, xmldecl=False, svgclass=None, lineclass=None
    )
    return image.getvalue().decode("utf-8").strip()


def matching_step(secret: bytes, code: str, now: float) -> int | None:
    """Return the newest step within ±1 of ``now`` that has this code, or None. Compares in constant time."""
    typed = code.replace(" ", "")
    if len(code) > 2 * DIGITS or len(typed) != DIGITS or not (typed.isascii() and typed.isdecimal()):
        return None
    device, current = pyotp.TOTP(secret_text(secret)), int(now) // STEP_SECONDS
    matches = [
        step for step in range(current - 1, current + 2) if hmac.compare_digest(device.generate_otp(step), typed)
    ]
    return max(matches, default=None)
