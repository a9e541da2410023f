"""Proofs of second factors, as the scripts take them, and their rejections."""

from dataclasses import dataclass, field

from sidecar.domain.sessions import Method
from sidecar.store.scripting import milliseconds


@dataclass(frozen=True, slots=True)
class ChallengeUse:
    """Challenge that a proof answers. ``nonce``: its id. ``seconds``: how long its use is remembered."""

    nonce: str
    seconds: float


@dataclass(frozen=True, slots=True)
class FactorProof:
    """Verified proof of a second factor, which the store accepts once.

    ``step``: of a one-time code (R34). ``counter``: of a passkey (R38). ``digest``: of a recovery code (R35).
    """

    method: Method
    factor: str = ""
    step: int = 0
    counter: int = 0
    digest: str = field(default="", repr=False)
    challenge: ChallengeUse | None = None


@dataclass(frozen=True, slots=True)
class FactorRequired:
    """Sign-in or step-up without a proof of a second factor, by a user who has one."""


@dataclass(frozen=True, slots=True)
class ProofRefused:
    """Proof that the store does not accept: a used step, code or challenge, or a counter that goes back."""


def proof_argument(proof: FactorProof | None) -> dict[str, object] | None:
    """Return the proof of a second factor as ``rejected_proof`` in prelude_factors.lua reads it."""
    if proof is None:
        return None
    found: dict[str, object] = {"method": proof.method.value, "factor": proof.factor}
    match proof.method:
        case Method.TOTP:
            found["step"] = str(proof.step)
        case Method.PASSKEY:
            found["count"] = str(proof.counter)
        case _:
            found["digest"] = proof.digest
    if proof.challenge is not None:
        found["challenge"] = challenge_argument(proof.challenge)
    return found


def challenge_argument(challenge: ChallengeUse) -> dict[str, object]:
    return {"id": challenge.nonce, "left": milliseconds(challenge.seconds)}
