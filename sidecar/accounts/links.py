"""Links that carry a secret. Built from SIDECAR_PUBLIC_URL alone, never from a request's Host; the secret stands in the
fragment, which no browser sends, no proxy logs and no Referer repeats (R12)."""

from sidecar.tokens.opaque import Secret

INVITATION_PATH = "/console/invitation"
RESET_PATH = "/console/reset"


def invitation_link(public_url: str, secret: Secret) -> str:
    return f"{public_url.rstrip('/')}{INVITATION_PATH}#{secret.text}"


def reset_link(public_url: str, secret: Secret) -> str:
    return f"{public_url.rstrip('/')}{RESET_PATH}#{secret.text}"
