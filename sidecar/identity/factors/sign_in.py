"""Second step of a sign-in, and sign-in by a passkey alone."""

from sidecar.domain.sessions import Method, NewProof
from sidecar.domain.users import UserId
from sidecar.identity.factors.attempts import Attempt, FactorAttempts, IssuedChallenge, VerifiedAttempt, WrongCode
from sidecar.identity.hash_limits import Limited
from sidecar.identity.revocation_wait import wait_until_applied
from sidecar.identity.sessions import Client, Grant, Issuer
from sidecar.store.live.fleet import Fleet
from sidecar.store.outcomes import NoUser
from sidecar.store.sessions import Opened, Sessions
from sidecar.tokens.challenges import ChallengePurpose

FactorSignInOutcome = Grant | WrongCode | Limited


class FactorSignIn:
    """Service that opens sessions with a second factor. All methods raise StoreUnavailableError."""

    def __init__(self, *, attempts: FactorAttempts, sessions: Sessions, issuer: Issuer, fleet: Fleet) -> None:
        self._attempts = attempts
        self._sessions = sessions
        self._issuer = issuer
        self._fleet = fleet

    @property
    def passkeys_available(self) -> bool:
        return self._attempts.passkeys.available

    async def challenge(self, user: UserId, purpose: ChallengePurpose) -> IssuedChallenge | NoUser:
        """Return a challenge for a user after the right password (R36)."""
        return await self._attempts.issue(user, purpose)

    def passkey_options(self) -> IssuedChallenge:
        """Return a challenge for any passkey of this site."""
        return self._attempts.issue_anonymous()

    async def sign_in(self, attempt: Attempt, purpose: ChallengePurpose, client: Client) -> FactorSignInOutcome:
        """Open a session for a right answer. The script that opens it uses the answer up (R34, R35)."""

        async def open_(found: VerifiedAttempt) -> Grant | WrongCode:
            first = () if purpose is ChallengePurpose.PASSKEY else (NewProof(Method.PASSWORD),)
            browser = purpose is not ChallengePurpose.TOKEN
            session = self._issuer.new_session(client, *first, found.new_proof, browser=browser)
            opened = await self._sessions.open(
                found.record.id, expected_epoch=found.record.epoch, session=session, proof=found.proof
            )
            if not isinstance(opened, Opened):
                return WrongCode()
            if opened.ended:
                await wait_until_applied(self._fleet, opened.position)
            return self._issuer.grant(opened.record, session.id)

        return await self._attempts.verify(attempt, purpose, client, open_)
