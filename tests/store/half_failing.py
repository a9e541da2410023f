"""Scripts with calls that fail by number or by command, and a change for each of them."""

import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from sidecar.domain.factors import FactorId
from sidecar.domain.peps import Scope
from sidecar.domain.sessions import Method, NewProof
from sidecar.domain.users import AccountId, Actor, Status, UserRecord
from sidecar.policy.generation import Generation
from sidecar.policy.transfer.packing import pack
from sidecar.store import connection, keys
from sidecar.store.account_labels import AccountLabels
from sidecar.store.accounts import claim_name, settle_name
from sidecar.store.audit import Audit
from sidecar.store.factor_proofs import ChallengeUse, FactorProof
from sidecar.store.factors import Factors
from sidecar.store.federated_identities import FederatedIdentities
from sidecar.store.generation_records import PolicyCandidate
from sidecar.store.maintenance.archive_records import flat
from sidecar.store.peps import Peps
from sidecar.store.policy_history import PolicyHistory
from sidecar.store.rate_limiter import Bucket, Buckets, Rate
from sidecar.store.scripting import run_read, run_write
from sidecar.store.scripts import Script, script
from sidecar.store.sign_in_failures import FailedSignIns, SignInFailures
from sidecar.tokens.ids import new_account_id
from tests.store.generations_fixture import Applying, generation, registered, terms_of
from tests.store.test_peps import created, pep_id

OPERATOR = Actor.operator()
ISSUER = "https://login.example"
PHONE, LAPTOP = FactorId("totp_" + "a" * 16), FactorId("passkey_" + "a" * 16)
DIGESTS = tuple(f"{number:064x}" for number in range(10))

_FAILING = """
local _before_failure, _command = %d, nil
local function _fails(command)
  _before_failure = _before_failure - 1
  if _before_failure == 0 then
    _command = command
    redis.call('SET', 'test:reached', '1')
  end
  return _before_failure == 0 or (%s and command == _command)
end
local function _call(...)
  if _fails(...) then error('ERR this call of the test fails') end
  return redis.call(...)
end
local function _pcall(...)
  if _fails(...) then return { err = 'ERR this call of the test fails' } end
  return redis.pcall(...)
end
"""


def failing_text(text: str, call: int, *, for_good: bool) -> str:
    """Return the script with its ``call``-th call failing. ``for_good``: and every later call of the same command, as
    after the removal of a right.
    """
    wrapped = re.sub(r"\bredis\.(p?call)\(", r"_\1(", text)
    return _FAILING % (call, "true" if for_good else "false") + wrapped


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, name: str, call: int, *, for_good: bool) -> Iterator[None]:
    def found(asked: str) -> Script:
        whole = script(asked)
        if asked != name:
            return whole
        text = failing_text(whole.text, call, for_good=for_good)
        return Script(text, "0" * 40)  # unknown to the server: sent as a text

    with monkeypatch.context() as patch:
        patch.setattr(connection.scripts, "script", found)
        yield


@dataclass(frozen=True)
class Change:
    """``act`` may be called again after it failed. ``account``: the account of the changed records, '' for none."""

    account: str
    act: Callable[[], Awaitable[object]]


class Scenarios:
    """One method per writing script, of the script's name. It prepares, and returns the change."""

    def __init__(self, town, number: int) -> None:
        self.town = town
        self.number = number
        self.store = town.store

    async def _admin(self) -> UserRecord:
        self.number += 1
        return await self.town.account(name=f"Acme {self.number}", email=f"ada{self.number}@example.com")

    async def _member(self, role: str = "marketer") -> tuple[Actor, UserRecord]:
        admin = await self._admin()
        actor = await self.town.signed_in(admin)
        member = await self.town.member(actor, admin.account, f"bob{self.number}@example.com", role=role)
        return actor, member

    async def _invited(self, **more: object) -> tuple[Actor, UserRecord]:
        admin = await self._admin()
        actor = await self.town.signed_in(admin)
        invited = await self.town.invite(actor, admin.account, f"eve{self.number}@example.com", digest="d", **more)
        return actor, invited.member.record

    async def account_create(self) -> Change:
        account = new_account_id(self.town.entropy(17))
        uid = self.town.uid(account)
        arguments = {"name": "N", "cap": "5", "uid": uid, "email": "n@example.com", "mailbox": "n@example.com"}
        return Change(
            account,
            lambda: run_write(
                self.store, "account_create", account, OPERATOR, **arguments, admin_name="Ada", pw="hash"
            ),
        )

    async def account_delete(self) -> Change:
        _, member = await self._member()
        return Change(member.account, lambda: self.town.accounts.delete(member.account, OPERATOR))

    async def account_seats(self) -> Change:
        admin = await self._admin()
        return Change(admin.account, lambda: self.town.accounts.set_seats(admin.account, 9, OPERATOR))

    async def account_status(self) -> Change:
        admin = await self._admin()
        return Change(admin.account, lambda: self.town.accounts.set_status(admin.account, Status.SUSPENDED, OPERATOR))

    async def fsck_repair(self) -> Change:
        _, member = await self._member()
        return Change(member.account, lambda: run_write(self.store, "fsck_repair", member.account, OPERATOR))

    async def invite(self) -> Change:
        """Replaces an expired invitation: two events."""
        actor, invited = await self._invited(ttl=0.001)
        await self.town.pass_by(5)
        email = invited.email
        return Change(invited.account, lambda: self.town.invite(actor, invited.account, email, digest="d2"))

    async def invitation_accept(self) -> Change:
        _, invited = await self._invited()
        words = {"digest": "d", "password_hash": "h", "name": "Eve"}
        session = self.town.session()
        return Change(
            invited.account, lambda: self.town.invitations.accept(invited.id, session=session, **words, mailed=True)
        )

    async def invitation_resend(self) -> Change:
        actor, invited = await self._invited(ttl=0.001)
        await self.town.pass_by(5)
        return Change(invited.account, lambda: self.town.invitations.resend(actor, invited.id, digest="d3", ttl=60.0))

    async def link(self) -> Change:
        """Link by an e-mail that is not verified: password and sessions are removed."""
        _, member = await self._member()
        found = {"issuer": ISSUER, "subject": "s-1", "email": member.email}
        return Change(member.account, lambda: FederatedIdentities(self.store).link(member.account, **found))

    async def unlink(self) -> Change:
        change = await self.link()
        linked = await change.act()
        return Change(change.account, lambda: FederatedIdentities(self.store).unlink(linked.user))

    async def pep_create(self) -> Change:
        admin = await self._admin()
        words = {"name": "gateway", "scopes": frozenset({Scope.EVALUATE}), "digest": "d" * 64, "ttl": 60.0, "rate": 7}
        return Change(admin.account, lambda: Peps(self.store).create(OPERATOR, pep_id(admin.account), **words))

    async def pep_revoke(self) -> Change:
        admin = await self._admin()
        await created(Peps(self.store), admin.account)
        return Change(admin.account, lambda: Peps(self.store).revoke(OPERATOR, pep_id(admin.account)))

    async def restore_account(self) -> Change:
        _, member = await self._member()
        await created(Peps(self.store), member.account)
        await FederatedIdentities(self.store).link(member.account, issuer=ISSUER, subject="s", email=member.email)
        reply = await run_read(self.store, "backup_account", member.account)
        put_away = {
            name: reply[name] or [] for name in ("a", "users", "factors", "invitations", "peps", "links", "seal")
        }
        await self.town.users.sign_out_everywhere(member.id, OPERATOR)
        return Change(
            member.account,
            lambda: run_write(self.store, "restore_account", member.account, OPERATOR, data=put_away),
        )

    async def session_open(self) -> Change:
        _, member = await self._member()
        session = self.town.session()
        return Change(
            member.account,
            lambda: self.town.sessions.open(member.id, expected_epoch=member.epoch, session=session),
        )

    async def session_end(self) -> Change:
        _, member = await self._member()
        actor = await self.town.signed_in(member)
        return Change(member.account, lambda: self.town.sessions.end(member.id, [actor.session], OPERATOR))

    async def session_rotate(self) -> Change:
        _, member = await self._member()
        actor = await self.town.signed_in(member)
        return Change(member.account, lambda: self.town.sessions.rotate(member.id, actor.session, 0, ttl=3600.0))

    async def account_label(self) -> Change:
        admin = await self._admin()
        labels = AccountLabels(self.store)
        await labels.change(admin.account, {"plan": "free"}, OPERATOR)
        return Change(admin.account, lambda: labels.change(admin.account, {"plan": "pro"}, OPERATOR))

    async def sessions_migrate(self) -> Change:
        """No sidecar serves the store meanwhile."""
        _, member = await self._member()
        actor = await self.town.signed_in(member)
        home = keys.account(member.account, self.store.partitions)
        await self.store.change("HDEL", f"{home}:s:{actor.session}", "at", "by")
        words = {"uids": [member.id]}
        return Change("", lambda: run_write(self.store, "sessions_migrate", member.account, OPERATOR, **words))

    async def session_step_up(self) -> Change:
        """A step-up by a code, of a browser."""
        _, own, member = await self._enrolled()
        proof = FactorProof(Method.TOTP, PHONE, step=9, challenge=ChallengeUse(f"n{self.number}", 60))
        return Change(
            member.account,
            lambda: self.town.sessions.step_up(own, NewProof(Method.TOTP, PHONE), proof=proof, rotate=True),
        )

    async def user_change(self) -> Change:
        """An administrator is suspended: role, status, index and sessions."""
        actor, member = await self._member("account-administrator")
        await self.town.signed_in(member)
        return Change(member.account, lambda: self.town.users.change(actor, member.id, status=Status.SUSPENDED))

    async def user_password(self) -> Change:
        _, member = await self._member()
        await self.town.signed_in(member)
        session = self.town.session()
        return Change(
            member.account,
            lambda: self.town.users.change_password(
                member.id,
                actor=Actor.bearer(member.id),
                expected_epoch=member.epoch,
                password_hash="new",
                session=session,
            ),
        )

    async def user_raise_epoch(self) -> Change:
        _, member = await self._member()
        await self.town.signed_in(member)
        return Change(member.account, lambda: self.town.users.raise_epoch(member.id, member.epoch + 3))

    async def user_rehash(self) -> Change:
        _, member = await self._member()
        return Change(
            member.account,
            lambda: self.town.users.rehash(member.id, expected_epoch=member.epoch, password_hash="stronger"),
        )

    async def user_remove(self) -> Change:
        actor, member = await self._member()
        await self.town.signed_in(member)
        return Change(member.account, lambda: self.town.users.remove(actor, member.id))

    async def user_sign_out(self) -> Change:
        _, member = await self._member()
        await self.town.signed_in(member)
        return Change(member.account, lambda: self.town.users.sign_out_everywhere(member.id, OPERATOR))

    async def user_reset_link(self) -> Change:
        actor, member = await self._member()
        return Change("", lambda: self.town.users.reset_link(member.id, actor, shown=True))

    async def user_review(self) -> Change:
        """Review an administrator whose demotion was lost."""
        actor, member = await self._member("account-administrator")
        home = keys.account(member.account, self.store.partitions)
        await self.store.change(
            "HSET", f"{home}:u:{member.id}", "hold", '{"role":"marketer","status":"active","t":"1"}'
        )
        await self.store.change("SREM", f"{home}:admins", member.id)
        return Change(
            member.account,
            lambda: self.town.users.review(actor, member.id, role="marketer", status=Status.ACTIVE),
        )

    async def recover_account(self) -> Change:
        """A lost demotion and a lost revocation, reported while sidecars serve."""
        _, member = await self._member("account-administrator")
        await created(Peps(self.store), member.account)
        await self.town.signed_in(member)
        lost = {"role": "marketer", "status": "active", "epochs": [], "entry": "1-0"}
        words = {"uids": [member.id], "users": {member.id: lost}, "seq": "9", "peps": [pep_id(member.account)]}
        more = {"status": "", "lost": 1, "head": True, "live": True}
        return Change(
            member.account,
            lambda: run_write(self.store, "recover_account", member.account, OPERATOR, **words, **more),
        )

    async def _enrolled(self) -> tuple[Actor, Actor, UserRecord]:
        """A member with two factors, one of which counts: an administrator, the member's actor and record."""
        actor, member = await self._member()
        own = await self.town.signed_in(member)
        factors = Factors(self.store)
        for factor, proof in ((PHONE, {"step": 1}), (LAPTOP, {"counter": 0})):
            await factors.add(own, factor, sealed="s", ttl=60)
            await factors.confirm(own, factor, name="N", codes=DIGESTS, wait=60, **proof)
        return actor, own, member

    async def factor_add(self) -> Change:
        _, member = await self._member()
        own = await self.town.signed_in(member)
        return Change("", lambda: Factors(self.store).add(own, PHONE, sealed="s", ttl=60))

    async def factor_confirm(self) -> Change:
        _, member = await self._member()
        own = await self.town.signed_in(member)
        factors = Factors(self.store)
        await factors.add(own, PHONE, sealed="s", ttl=60)
        words = {"name": "Phone", "codes": DIGESTS, "wait": 60, "step": 7}
        return Change(member.account, lambda: factors.confirm(own, PHONE, **words))

    async def factor_rename(self) -> Change:
        _, own, member = await self._enrolled()
        return Change(member.account, lambda: Factors(self.store).rename(own, PHONE, "Other"))

    async def factor_remove(self) -> Change:
        _, own, member = await self._enrolled()
        return Change(member.account, lambda: Factors(self.store).remove(own, PHONE))

    async def factors_reset(self) -> Change:
        actor, _, member = await self._enrolled()
        return Change(member.account, lambda: Factors(self.store).reset(member.id, actor))

    async def factors_confirm(self) -> Change:
        actor, _, member = await self._enrolled()
        return Change(member.account, lambda: Factors(self.store).confirm_all(member.id, actor))

    async def recovery_codes(self) -> Change:
        _, own, member = await self._enrolled()
        return Change(member.account, lambda: Factors(self.store).replace_codes(own, DIGESTS))

    async def factor_try(self) -> Change:
        _, member = await self._member()
        use = ChallengeUse(f"n{self.number}", 60)
        return Change("", lambda: Factors(self.store).claim_attempt(member.id, use, code=True))

    # Without an account: no cached record is affected --------------------------------------------------------------

    async def announce(self) -> Change:
        return Change("", lambda: self.store.run("announce", [keys.feed(0)], ["keys"], write=True))

    async def audit_note(self) -> Change:
        return Change("", lambda: Audit(self.store).note("keys.rotated", OPERATOR))

    async def audit_seal(self) -> Change:
        admin = await self._admin()
        log = f"{keys.account(admin.account, self.store.partitions)}:log"
        words = ["0", "", "1", "f" * 64, "0"]
        at = [log, f"{keys.feed(0)}:open"]
        return Change("", lambda: self.store.run("audit_seal", at, words, write=True))

    async def data_set(self) -> Change:
        feed = keys.feed(0)
        before = await self.store.command("GET", f"{feed}:gen")
        self.number += 1
        words = {"before": before, "after": f"set-{self.number}", "meta_before": "", "meta_after": "", "code": ""}
        at, meta = [feed, keys.partition_meta(0)], ["audience", f"other-{self.number}"]
        return Change("meta", lambda: self.store.run("data_set", at, {**words, "meta": meta}, write=True))

    async def generation_record(self) -> Change:
        self.number += 1
        name = f"generation-{self.number}"
        return Change("", lambda: PolicyHistory(self.store).record(name, ["marketer"], sidecar="one"))

    async def policy_keep(self) -> Change:
        self.number += 1
        name = f"generation-{self.number}"
        await PolicyHistory(self.store).record(name, ["marketer"], sidecar="one")
        words = [name, "1", "c" * 64, "files", "signature"]
        return Change("", lambda: self.store.run("policy_keep", [f"sc:{keys.tag(0)}:policy"], words, write=True))

    async def sign_in_failed(self) -> Change:
        """A minute is over, and one more failure is counted."""
        _, member = await self._member()
        home = keys.account(member.account, self.store.partitions)
        await self.store.change("HSET", f"{home}:fails", f"1 {member.id}", '{"count":2,"addresses":["192.0.2.1"]}')
        failure = FailedSignIns(member.id, 1, ("192.0.2.1",))
        return Change("", lambda: SignInFailures(self.store).count(member.account, [failure]))

    async def hints_add(self) -> Change:
        key = keys.email_hint("a@example.com", 1)
        return Change("", lambda: self.store.run("hints_add", [key], ["acc_a acc_b"], write=True))

    async def issuer_change(self) -> Change:
        issuer = (await self.store.meta())["issuer"]
        self.number += 1
        words = [issuer, f"https://id{self.number}.example"]
        return Change("", lambda: self.store.run("issuer_change", [keys.META], words, write=True))

    async def limit_take(self) -> Change:
        self.number += 1
        bucket = Bucket("test", f"somebody-{self.number}", Rate(3, 60.0))
        return Change("", lambda: Buckets(self.store).take(bucket))

    async def limit_give_back(self) -> Change:
        self.number += 1
        bucket = Bucket("test", f"somebody-{self.number}", Rate(3, 60.0))
        await Buckets(self.store).take(bucket)
        return Change("", lambda: Buckets(self.store).give_back(bucket))

    async def lost_tell(self) -> Change:
        feed = keys.feed(0)
        here = await self.store.command("GET", f"{feed}:gen")
        words = {"data_set": here, "here": here, "base": "1", "top": "9", "lease": "1000", "after": "next"}
        told = {**words, "marks": [["9", "{}"]]}
        return Change("", lambda: self.store.run("lost_tell", [keys.lost(0)], told, write=True))

    async def recover_finish(self) -> Change:
        feed, lost = keys.feed(0), keys.lost(0)
        self.number += 1
        before = await self.store.command("GET", f"{feed}:gen")
        top = str(int(await self.store.command("GET", f"{feed}:n") or 0) + 3)
        await self.store.change("HSET", lost, top, "{}")
        await self.store.change("HSET", f"{lost}:meta", "top", top)
        words = {"before": before, "after": f"set-{self.number}", "top": top, "marks": 1, "digest": "", "code": ""}
        finish = {**words, "records": [[before, "{}"]]}
        return Change("meta", lambda: self.store.run("recover_finish", [feed, lost], finish, write=True))

    async def meta(self) -> Change:
        return Change("", lambda: self.store.run("meta", ["sc:other"], {"schema": "1"}, write=True))

    async def name_claim(self) -> Change:
        self.number += 1
        name = f"name {self.number}"
        return Change("", lambda: claim_name(self.store, name, AccountId("acc_a")))

    async def name_settle(self) -> Change:
        self.number += 1
        name = f"name {self.number}"
        await claim_name(self.store, name, AccountId("acc_a"))
        return Change("", lambda: settle_name(self.store, name, AccountId("acc_a"), "keep"))

    async def register(self) -> Change:
        at = [keys.sidecars(0), keys.feed(0), keys.partition_meta(0)]
        return Change("", lambda: self.store.run("register", at, ["one", "1000", "{}", ""]))

    async def restore_rows(self) -> Change:
        admin = await self._admin()
        rows = [[f"{100 + number}-0", flat({"action": "x", "t": "1"})] for number in range(2)]
        words = {"rows": rows, "taken": 1, "done": True}
        return Change("", lambda: run_write(self.store, "restore_rows", admin.account, OPERATOR, **words))

    async def _candidate(self, *, ready: bool = False) -> tuple[Applying, PolicyCandidate, Generation]:
        self.number += 1
        applying, found = Applying(self.store), generation("a")
        await registered(self.store, "one")
        active = (await applying.generations.look()).active
        counter = self.number + (active.terms.counter if active else 0)
        candidate = await applying.candidate(found, counter=counter)
        if ready:
            await applying.ready(candidate, "one")
        return applying, candidate, found

    async def policy_candidate(self) -> Change:
        applying, _, found = await self._candidate()
        return Change("", lambda: applying.candidate(found, counter=self.number))

    async def policy_activate(self) -> Change:
        applying, candidate, found = await self._candidate(ready=True)
        return Change("policy", lambda: applying.activate(candidate, found))

    async def policy_withdraw(self) -> Change:
        applying, candidate, _ = await self._candidate()
        return Change("", lambda: applying.generations.withdraw(candidate))

    async def policy_seed(self) -> Change:
        await self.store.change("DEL", f"{keys.policy()}:active", f"{keys.policy()}:history")
        applying, found = Applying(self.store), generation("a")
        terms = terms_of(found, 1)
        return Change("policy", lambda: applying.generations.seed(terms, pack(found.files), found, sidecar="one"))
