"""Links with a secret. They are built from SIDECAR_PUBLIC_URL only, never from a request's Host. The secret is in the
fragment, which browsers do not send, proxies do not log and Referer does not repeat (R12)."""

import hmac
from typing import Final

from sidecar.tokens.ids import letters
from sidecar.tokens.opaque import Pepper, Purpose, Secret, SecretKind, read_secret

INVITATION_PATH = "/console/invitation"
RESET_PATH = "/console/reset"


_PROOF: Final = 26  # characters: 130 bits of MAC


def invitation_link(public_url: str, secret: Secret) -> str:
    """Return the link shown to the inviter for delivery."""
    return f"{public_url.rstrip('/')}{INVITATION_PATH}#{secret.text}"


def mailed_invitation_link(public_url: str, secret: Secret, pepper: Pepper) -> str:
    """Return the link for the mail only. It also proves that it was mailed (R9).

    Deriving it from the shown link requires the pepper.
    """
    return f"{invitation_link(public_url, secret)}_{_mailed(secret, pepper)}"


def read_invitation(token: str, pepper: Pepper) -> tuple[Secret, bool] | None:
    """Return the secret after the # of either link, and True if the link was mailed. None: invalid."""
    secret = read_secret(SecretKind.INVITATION, token)
    if secret is not None:
        return secret, False
    shown, _, proof = token.rpartition("_")
    secret = read_secret(SecretKind.INVITATION, shown)
    if secret is None or not proof.isascii() or not hmac.compare_digest(proof, _mailed(secret, pepper)):
        return None
    return secret, True


def _mailed(secret: Secret, pepper: Pepper) -> str:
    proof = pepper.mac(Purpose.INVITATION, "mailed", secret.account, secret.owner, secret.secret)
    return letters(proof, _PROOF)


def reset_link(public_url: str, secret: Secret) -> str:
    return f"{public_url.rstrip('/')}{RESET_PATH}#{secret.text}"
