"""Consistency check of the data while it is in use. Repairs indexes only, never a record.

Each account is read at one instant. Data in several slots (names, e-mail hints, stray keys) is read twice before a
fault is reported, because a change may be in progress.
"""

import re
from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from sidecar.domain.users import AccountId, Actor
from sidecar.store import keys
from sidecar.store.codec import integer, items
from sidecar.store.connection import Store
from sidecar.store.integrity.losses import shown
from sidecar.store.integrity.recovering import read_lost
from sidecar.store.maintenance.consistency_checks import ConsistencyFault, ConsistencyFinding, Snapshot, findings_of
from sidecar.store.maintenance.restore_mark import REMEDY, clear_mark, is_marked
from sidecar.store.maintenance.role_checks import undeclared_roles
from sidecar.store.scripting import run_read, run_write

SCAN_COUNT: Final = 1000
TTL_BATCH: Final = 500
_ACCOUNT_KEY: Final = re.compile(r"sc:\{p\d\d\}:a:(acc_[a-z2-7]{12})(?::(.+))?")
_HINT_KEY: Final = re.compile(r"sc:\{p\d\d\}:em:([0-9a-f]{64})")
_MUST_EXPIRE: Final = re.compile(r"s:|rid:|idem:|fp:|ch:|wc:")
_FACTOR_KEY: Final = re.compile(r"(f|factors|rc|wc):(.+)")
"""Keys of second factors: one factor by its id, those of a user, recovery codes, wrong codes."""


@dataclass(slots=True)
class FsckReport:
    """Result of a run. ``repaired``: fixed faults. ``users``: members; ``invited``: open invitations."""

    accounts: int = 0
    users: int = 0
    invited: int = 0
    findings: list[ConsistencyFinding] = field(default_factory=list)
    repaired: list[ConsistencyFinding] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Return whether no fault is left. Notes are not faults."""
        return all(finding.is_note for finding in self.findings)


@dataclass(slots=True)
class _Seen:
    """Result of one pass over all keys. ``factors``: kind and id of keys of second factors."""

    accounts: set[AccountId] = field(default_factory=set)
    records: dict[AccountId, set[str]] = field(default_factory=dict)
    factors: dict[AccountId, set[tuple[str, str]]] = field(default_factory=dict)
    hints: list[str] = field(default_factory=list)
    lasting: list[str] = field(default_factory=list)


class Fsck:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._roles: Collection[str] | None = None

    async def run(self, *, repair: bool = False, roles: Collection[str] | None = None) -> FsckReport:
        """Check all data. With ``repair``, faulty indexes are rebuilt; remaining faults are reported.

        ``roles``: of the policy in force. None: roles are not checked.
        """
        self._roles = roles
        report = FsckReport()
        seen = await self._scan()
        emails: dict[str, set[AccountId]] = {}
        for account in sorted(seen.accounts):
            await self._check_account(account, seen, report, emails, repair=repair)
        await self._check_names(report, repair=repair)
        await self._check_hints(seen, emails, report, repair=repair)
        await self._check_feeds(report)
        await self._check_restore(report, repair=repair)
        await self._check_losses(report)
        report.findings += [
            ConsistencyFinding(ConsistencyFault.NO_EXPIRY, key, "never expires") for key in seen.lasting
        ]
        report.findings.sort(key=lambda finding: (finding.where, finding.fault, finding.detail))
        return report

    async def _check_account(
        self,
        account: AccountId,
        seen: _Seen,
        report: FsckReport,
        emails: dict[str, set[AccountId]],
        *,
        repair: bool,
    ) -> None:
        snapshot = await self._snapshot(account)
        found = list(findings_of(snapshot))
        if repair and any(finding.repairable for finding in found):
            await run_write(self._store, "fsck_repair", account, Actor.operator())
            snapshot = await self._snapshot(account)
            remaining = list(findings_of(snapshot))
            report.repaired += [finding for finding in found if finding not in remaining]
            found = remaining
        report.accounts += not snapshot.deleted
        report.users += len(snapshot.users)
        report.invited += snapshot.invited
        report.findings += found
        if self._roles is not None:
            report.findings += undeclared_roles(snapshot, self._roles)
        for email in snapshot.hinted:
            emails.setdefault(keys.email_hint(email, self._store.partitions), set()).add(account)
        strays = seen.records.get(account, set()) - {user["id"] for user in snapshot.users}
        for uid in sorted(strays):
            if await self._is_stray(account, uid):
                report.findings.append(
                    ConsistencyFinding(ConsistencyFault.RECORD_WITHOUT_MEMBER, account, f"{uid} is no member")
                )

        for kind, name in sorted(seen.factors.get(account, set()) - _factor_keys(snapshot)):
            if await self._is_stray_factor(account, kind, name):
                detail = f"{kind}:{name} is of no user or of no listed factor"
                report.findings.append(ConsistencyFinding(ConsistencyFault.FACTOR_WITHOUT_USER, account, detail))

    async def _is_stray_factor(self, account: AccountId, kind: str, name: str) -> bool:
        """Return whether a key still exists without an owner: a change may have been in progress."""
        home = keys.account(account, self._store.partitions)
        exists = await self._store.command("EXISTS", f"{home}:{kind}:{name}")
        return bool(exists) and (kind, name) not in _factor_keys(await self._snapshot(account))

    async def _snapshot(self, account: AccountId) -> Snapshot:
        return Snapshot(account, await run_read(self._store, "fsck_account", account))

    async def _is_stray(self, account: AccountId, uid: str) -> bool:
        home = keys.account(account, self._store.partitions)
        exists = await self._store.command("EXISTS", f"{home}:u:{uid}")
        return bool(exists) and not await self._store.command("SISMEMBER", f"{home}:members", uid)

    async def _check_names(self, report: FsckReport, *, repair: bool) -> None:
        claimed = {name: claim.split() for name, claim in await self._store.pairs("HGETALL", keys.names())}
        for name, claim in claimed.items():
            fields = dict(await self._store.pairs("HGETALL", keys.account(AccountId(claim[0]), self._store.partitions)))
            if len(claim) == 1 and keys.folded(fields.get("name", "")) != name:
                finding = ConsistencyFinding(
                    ConsistencyFault.NAME_INDEX, claim[0], f"the index has the name {name!r} for an account without it"
                )
                await self._settle(report, finding, repair, "HDEL", keys.names(), name)
        async for account, name in self._named():
            claim = claimed.get(keys.folded(name), [])
            if claim[:1] != [account]:
                finding = ConsistencyFinding(
                    ConsistencyFault.NAME_INDEX, account, f"its name {name!r} is not in the index"
                )
                await self._settle(report, finding, repair, "HSETNX", keys.names(), keys.folded(name), account)

    async def _named(self) -> AsyncIterator[tuple[AccountId, str]]:
        async for key in self._keys("sc:{p*}:a:acc_????????????"):
            match = _ACCOUNT_KEY.fullmatch(key)
            if match and (name := await self._store.command("HGET", key, "name")):
                yield AccountId(match[1]), name

    async def _check_hints(
        self, seen: _Seen, emails: dict[str, set[AccountId]], report: FsckReport, *, repair: bool
    ) -> None:
        """Check the e-mail hints, which may be a superset: a missing hint is a fault, a stale one is only removed."""
        for hint, accounts in emails.items():
            for account in sorted(accounts - set(await self._hinted(hint))):
                if hint not in await self._hints_of(account) or account in await self._hinted(hint):
                    continue  # the e-mail was removed meanwhile, or the hint was added
                finding = ConsistencyFinding(
                    ConsistencyFault.EMAIL_HINT,
                    account,
                    "an e-mail of the account has no hint: sign-in without the account misses it",
                )
                await self._settle(report, finding, repair, "SADD", hint, account)
        if not repair:
            return
        for hint in seen.hints:
            for account in set(await self._hinted(hint)) - emails.get(hint, set()):
                if hint not in await self._hints_of(account):
                    await self._store.change("SREM", hint, account)

    async def _hints_of(self, account: AccountId) -> set[str]:
        snapshot = await self._snapshot(account)
        return {keys.email_hint(email, self._store.partitions) for email in snapshot.hinted}

    async def _hinted(self, hint: str) -> Iterable[AccountId]:
        return [AccountId(account) for account in await self._store.command("SMEMBERS", hint)]

    async def _settle(self, report: FsckReport, finding: ConsistencyFinding, repair: bool, *words: str) -> None:
        if repair:
            await self._store.change(*words)
        (report.repaired if repair else report.findings).append(finding)

    async def _check_restore(self, report: FsckReport, *, repair: bool) -> None:
        if not await is_marked(self._store):
            return
        if repair:
            await clear_mark(self._store)
        finding = ConsistencyFinding(
            ConsistencyFault.UNFINISHED_RESTORE, keys.META, f"a restore was not finished: {REMEDY}"
        )
        (report.repaired if repair else report.findings).append(finding)

    async def _check_feeds(self, report: FsckReport) -> None:
        for partition in range(self._store.partitions):
            reply = await self._store.run("feed_tail", [keys.feed(partition)], [""])
            last = await self._store.run("feed_tail", [keys.feed(partition)], [reply["id"]])
            if reply["id"] != "0-0" and integer(last["mine"] or 0) != integer(reply["n"] or 0):
                detail = f"ends at change {last['mine'] or 'none'}, and counts {reply['n']}"
                report.findings.append(ConsistencyFinding(ConsistencyFault.FEED_COUNT, keys.feed(partition), detail))

    async def _check_losses(self, report: FsckReport) -> None:
        """Report lost changes (R48): their partition is closed until it is recovered."""
        for partition in range(self._store.partitions):
            if (lost := await read_lost(self._store, partition)) is not None:
                unknown = f"changes {shown(lost.missing)} are known to no sidecar" if lost.missing else "all are known"
                detail = f"changes up to {lost.top} are lost, {unknown}: see `sidecar fsck --accept-loss`"
                report.findings.append(ConsistencyFinding(ConsistencyFault.LOST_CHANGES, keys.feed(partition), detail))

    async def _scan(self) -> _Seen:
        seen, passing = _Seen(), list[str]()
        async for key in self._keys("sc:*"):
            if match := _ACCOUNT_KEY.fullmatch(key):
                account, rest = AccountId(match[1]), match[2] or ""
                if not rest:
                    seen.accounts.add(account)
                elif rest.startswith("u:"):
                    seen.records.setdefault(account, set()).add(rest[2:])
                elif factor := _FACTOR_KEY.fullmatch(rest):
                    seen.factors.setdefault(account, set()).add((factor[1], factor[2]))
                if _MUST_EXPIRE.match(rest):
                    passing.append(key)
            elif _HINT_KEY.fullmatch(key):
                seen.hints.append(key)
            elif ":rl:" in key or ":rid:" in key:
                passing.append(key)
        seen.lasting = await self._lasting(passing)
        return seen

    async def _lasting(self, passing: Iterable[str]) -> list[str]:
        """Return the keys without the required expiry.

        Reads batches of one partition: the number of keys may equal the changes of the last minutes."""
        partitions: dict[str, list[str]] = {}
        for key in passing:
            partitions.setdefault(key.partition("}")[0], []).append(key)
        found: list[str] = []
        for batch in partitions.values():
            for start in range(0, len(batch), TTL_BATCH):
                found += items((await self._store.run("lasting", batch[start : start + TTL_BATCH], []))["all"])
        return found

    async def _keys(self, pattern: str) -> AsyncIterator[str]:
        for server in await self._store.servers():
            cursor = "0"
            while True:
                cursor, found = await server.command("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
                for key in found:
                    yield str(key)
                if str(cursor) == "0":
                    break


def _factor_keys(snapshot: Snapshot) -> set[tuple[str, str]]:
    """Return kind and id of the keys that the users of an account may have."""
    found = {(kind, user["id"]) for user in snapshot.users for kind in ("factors", "rc", "wc")}
    return found | {("f", factor[0]) for user in snapshot.users for factor in items(user["factors"])}
