"""Links that carry a secret. Built from SIDECAR_PUBLIC_URL alone, never from a request's Host; the secret stands in the
fragment, which no browser sends, no proxy logs and no Referer repeats (R12)."""

import hmac
from typing import Final

from sidecar.tokens.ids import letters
from sidecar.tokens.opaque import Kind, Pepper, Purpose, Secret, read_secret

INVITATION_PATH = "/console/invitation"
RESET_PATH = "/console/reset"


_PROOF: Final = 26  # characters: 130 bits of MAC


def invitation_link(public_url: str, secret: Secret) -> str:
    """The link that is shown to whoever invites, to be handed over."""
    return f"{public_url.rstrip('/')}{INVITATION_PATH}#{secret.text}"


def mailed_invitation_link(public_url: str, secret: Secret, pepper: Pepper) -> str:
    """The link that goes into the mail and nowhere else: it also proves that it was mailed (R9).

    Nobody makes it from the one that was shown: that takes the pepper.
    """
    return f"{invitation_link(public_url, secret)}_{_mailed(secret, pepper)}"


def read_invitation(token: str, pepper: Pepper) -> tuple[Secret, bool] | None:
    """The secret behind the # of either link, and whether it came out of the mail. None: of neither."""
    secret = read_secret(Kind.INVITATION, token)
    if secret is not None:
        return secret, False
    shown, _, proof = token.rpartition("_")
    secret = read_secret(Kind.INVITATION, shown)
    if secret is None or not proof.isascii() or not hmac.compare_digest(proof, _mailed(secret, pepper)):
        return None
    return secret, True


def _mailed(secret: Secret, pepper: Pepper) -> str:
    proof = pepper.mac(Purpose.INVITATION, "mailed", secret.account, secret.owner, secret.secret)
    return letters(proof, _PROOF)


def reset_link(public_url: str, secret: Secret) -> str:
    return f"{public_url.rstrip('/')}{RESET_PATH}#{secret.text}"
