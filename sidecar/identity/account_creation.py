"""Creation of an account with its first Account Administrator. The operator vouches for the e-mail (R9)."""

from dataclasses import dataclass, field

from sidecar.domain.users import DEFAULT_SEATS, Actor
from sidecar.identity.display_names import clean, clean_person
from sidecar.identity.emails import parse
from sidecar.identity.hashing import Hashing, Overloaded, Priority
from sidecar.identity.invitations import InvalidEmail
from sidecar.identity.passwords import WeakPassword, check_password
from sidecar.identity.sessions import Entropy
from sidecar.store.accounts import AccountExists, Accounts, Created
from sidecar.tokens.ids import ENTROPY_BYTES, new_account_id, new_user_id


@dataclass(frozen=True, slots=True)
class NewAccount:
    """Operator's input for a new account."""

    name: str
    admin_email: str
    password: str = field(repr=False)
    admin_name: str = ""
    seats: int = DEFAULT_SEATS


@dataclass(frozen=True, slots=True)
class InvalidName:
    """Invalid account or administrator name: empty, too long, with unprintable characters, shaped like an id, or
    like an actor of the audit.
    """


CreateAccountOutcome = Created | AccountExists | InvalidName | InvalidEmail | WeakPassword | Overloaded


async def create_account(
    accounts: Accounts, hashing: Hashing, new_account: NewAccount, *, actor: Actor, entropy: Entropy
) -> CreateAccountOutcome:
    """Create the account with an active administrator. Returns the store's outcome or the rejection.

    Raises StoreUnavailableError.
    """
    name, admin_name = clean(new_account.name), clean_person(new_account.admin_name)
    if not name or admin_name is None or name.startswith("acc_"):
        return InvalidName()
    address = parse(new_account.admin_email)
    if address is None:
        return InvalidEmail()
    password = await check_password(new_account.password, email=address.email)
    if isinstance(password, WeakPassword):
        return password
    account = new_account_id(entropy(ENTROPY_BYTES))
    admin = new_user_id(account, entropy(ENTROPY_BYTES))
    hashed = await hashing.hash(Priority.PROVEN, admin, password)
    if isinstance(hashed, Overloaded):
        return hashed
    return await accounts.create(
        account=account,
        name=name,
        cap=new_account.seats,
        admin=admin,
        email=address.email,
        mailbox=address.mailbox,
        admin_name=admin_name,
        password_hash=hashed,
        actor=actor,
    )
