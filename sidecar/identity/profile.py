"""Profile: what users change about themselves without a permission. Limited, because any user can do it."""

from dataclasses import dataclass

from sidecar.domain.users import Actor, UserRecord
from sidecar.identity.hash_limits import Limited, LoginLimits
from sidecar.identity.revocation_wait import already_everywhere, wait_until_applied
from sidecar.store.live.fleet import Fleet, Revocation
from sidecar.store.outcomes import ActorChanged, Changed, Unchanged
from sidecar.store.users import Users


@dataclass(frozen=True, slots=True)
class Renamed:
    """User with the new name. ``revocation`` is None if the name was the same already."""

    record: UserRecord
    revocation: Revocation | None


class Profile:
    """Service for the caller's own profile."""

    def __init__(self, *, users: Users, fleet: Fleet, limits: LoginLimits) -> None:
        self._users = users
        self._fleet = fleet
        self._limits = limits

    async def rename(self, record: UserRecord, name: str, actor: Actor) -> Renamed | ActorChanged | Limited:
        """Change the name of ``record``, whose owner is ``actor``. Returns once all sidecars have applied it.

        Each change is an audit row and an event for every sidecar, so changes are limited per user. Raises
        StoreUnavailableError.
        """
        limited = await self._limits.admit_profile_change(record.id)
        if limited is not None:
            return limited
        changed = await self._users.change(actor, record.id, name=name, expected_role=record.role)
        match changed:
            case Changed(renamed, position):
                return Renamed(renamed, await wait_until_applied(self._fleet, position))
            case Unchanged(same, position):
                await already_everywhere(self._fleet, position)
                return Renamed(same, None)
            case _:  # a name alone concerns no administrator and no invitation: the user is gone or changed
                return ActorChanged()
