"""Creation of an active user with a first password, without a link. The e-mail is not verified (R9). For operators."""

from sidecar.domain.users import AccountId, Actor
from sidecar.identity.account_creation import InvalidName
from sidecar.identity.display_names import clean_person
from sidecar.identity.emails import parse
from sidecar.identity.hashing import Hashing, Overloaded, Priority
from sidecar.identity.invitations import InvalidEmail, Invitee
from sidecar.identity.passwords import WeakPassword, check_password
from sidecar.identity.role_assignment import RoleAboveYours, UnknownRole, check_assignment
from sidecar.identity.sessions import Entropy
from sidecar.policy.generation import Generation
from sidecar.store import invitations as store
from sidecar.tokens.ids import ENTROPY_BYTES, new_user_id

CreateUserOutcome = (
    store.Accepted
    | store.InviteOutcome
    | InvalidEmail
    | InvalidName
    | WeakPassword
    | Overloaded
    | UnknownRole
    | RoleAboveYours
)


class UserCreation:
    """Service that creates active users."""

    def __init__(self, *, invitations: store.Invitations, hashing: Hashing, entropy: Entropy) -> None:
        self._invitations = invitations
        self._hashing = hashing
        self._entropy = entropy

    async def create(
        self, actor: Actor, generation: Generation, account: AccountId, invitee: Invitee, password: str
    ) -> CreateUserOutcome:
        """Create the user. Returns the store's outcome or the rejection. Raises StoreUnavailableError."""
        address, name = parse(invitee.email), clean_person(invitee.name)
        if address is None:
            return InvalidEmail()
        if name is None:
            return InvalidName()
        refused = check_assignment(generation, actor, current=None, new=invitee.role)
        if refused is not None:
            return refused
        normal = await check_password(password, email=address.email)
        if isinstance(normal, WeakPassword):
            return normal
        uid = new_user_id(account, self._entropy(ENTROPY_BYTES))
        hashed = await self._hashing.hash(Priority.PROVEN, uid, normal)
        if isinstance(hashed, Overloaded):
            return hashed
        return await self._invitations.create(
            actor,
            uid=uid,
            email=address.email,
            mailbox=address.mailbox,
            name=name,
            role=invitee.role,
            password_hash=hashed,
        )
