"""Labels of accounts: set and remove. Every record of the account holds them, so a check reads them with the user."""

from collections.abc import Mapping
from dataclasses import dataclass

from sidecar.domain.labels import MAX_LABELS, read_label, text_of
from sidecar.domain.users import Account, AccountId, Actor
from sidecar.store.codec import account_of_reply, position_of
from sidecar.store.connection import Store
from sidecar.store.outcomes import ActorChanged, NoAccount, Position
from sidecar.store.scripting import run_write


@dataclass(frozen=True, slots=True)
class LabelsSet:
    """Result of a change. The event is acknowledged, because a label can end a permission (R31)."""

    account: Account
    position: Position


@dataclass(frozen=True, slots=True)
class LabelsUnchanged:
    """No change was needed. ``position``: of the last change that may have led to the labels."""

    account: Account
    position: Position


@dataclass(frozen=True, slots=True)
class TooManyLabels:
    """The account would have more than ``MAX_LABELS`` labels."""


@dataclass(frozen=True, slots=True)
class LabelsDiffer:
    """The account no longer has the expected labels. Nothing changed."""


LabelsOutcome = LabelsSet | LabelsUnchanged | LabelsDiffer | TooManyLabels | NoAccount | ActorChanged


class AccountLabels:
    """Label operations. Raises StoreUnavailableError in an outage."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def change(
        self, account: AccountId, changes: Mapping[str, str], actor: Actor, *, expected: Mapping[str, str] | None = None
    ) -> LabelsOutcome:
        """Set each label to its value, all or nothing. An empty value removes the label.

        ``expected``: the labels for which the caller has checked the change. Raises ValueError for a malformed label.
        """
        for name, value in changes.items():
            if read_label(f"{name}={value}") != (name, value):
                raise ValueError(f"label {name!r} with value {value!r}: each has 1 to 40 of a-z, 0-9 and -")
        labels = [[name, value] for name, value in changes.items()]
        args = {} if expected is None else {"expected": text_of(expected)}
        reply = await run_write(self._store, "account_label", account, actor, labels=labels, most=MAX_LABELS, **args)
        match reply["o"]:
            case "set":
                return LabelsSet(account_of_reply(reply), position_of(reply))
            case "unchanged":
                return LabelsUnchanged(account_of_reply(reply), position_of(reply))
            case "labels_differ":
                return LabelsDiffer()
            case "too_many":
                return TooManyLabels()
            case "actor_changed":
                return ActorChanged()
            case _:
                return NoAccount()
