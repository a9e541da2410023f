"""Wiring of one serving process. Opens no listener, starts no task, sends no request to the store.

Order: checks, identity services (container_identity.py), policy rollout, then the context of the API handlers.
"""

import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_hex
from socket import gethostname

from sidecar import __version__
from sidecar.api.console import Console
from sidecar.config.settings import Settings
from sidecar.http.allowed_hosts import host_names
from sidecar.http.context import AppContext, PublicConfig
from sidecar.http.credentials import cookie_name
from sidecar.http.csrf import origin_of
from sidecar.http.login_page import login_page
from sidecar.identity import emails
from sidecar.identity.hashing import Hashing
from sidecar.identity.pep_keys import PepKeys
from sidecar.pdp.activation_checks import RolesInUseCheck
from sidecar.pdp.decision_point import DecisionPoint
from sidecar.pdp.evaluation import Subjects
from sidecar.pdp.health import Health
from sidecar.pdp.network_warnings import NetworkWarnings
from sidecar.pdp.preview import Previews
from sidecar.pdp.rollout import PolicyRollout
from sidecar.pdp.token_cache import TokenCache
from sidecar.pdp.undeclared_roles import UndeclaredRoles
from sidecar.pdp.unlinked_subjects import UnlinkedSubjects
from sidecar.server.audit_exporter import exporter
from sidecar.server.clock import since_boot
from sidecar.server.container_identity import serving_identity
from sidecar.server.issuer_registry import IssuerRegistry
from sidecar.server.key_watcher import KeyWatcher
from sidecar.server.listeners import check_url
from sidecar.server.operating_watch import FleetSize, watch_export, watch_loop, watch_operation
from sidecar.server.policy_start import StartedPolicy
from sidecar.server.state_files import store_place
from sidecar.sources.console_files import read_console
from sidecar.sources.journal_file import JournalFile
from sidecar.sources.key_files import LoadedKeys
from sidecar.store.accounts import Accounts
from sidecar.store.connection import Store
from sidecar.store.integrity.data_set import code_of
from sidecar.store.integrity.partition_state import PartitionState
from sidecar.store.live.replica import RecordReplica
from sidecar.store.live.revision_status import RevisionChecker
from sidecar.store.peps import PepCopies
from sidecar.store.policy_history import PolicyHistory
from sidecar.store.role_holders import RoleHolders
from sidecar.store.servers.url_file_watch import PASSWORD, URL, StoreUrlWatch
from sidecar.store.users import Users
from sidecar.telemetry.check_recorder import CheckRecorder
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.task_supervision import Work
from sidecar.tokens.verify import Verifier

JOURNAL = "journal"
"""Directory name in the state directory."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Dependencies of an assembly, opened before it and closed after it. ``shared``: directory of all workers."""

    settings: Settings
    metrics: Metrics
    policy: StartedPolicy
    keys: LoadedKeys
    trusted: IssuerRegistry
    store: Store
    recorder: CheckRecorder
    shared: Path | None = None


class Container:
    """Built once per process. ``stack`` closes the opened resources. Raises ConsoleFilesError."""

    def __init__(self, deps: Dependencies, stack: AsyncExitStack) -> None:
        self._deps = deps
        self.trusted = deps.trusted
        self.console = Console(read_console(), deps.settings.public_url) if deps.settings.console else None
        self._wire_checks(deps)
        self._wire_identity(deps, stack)
        self._wire_rollout(deps)
        self.app = self._app(deps)

    def work(self) -> Iterator[tuple[str, Work]]:
        """Yield the tasks that run beside the listeners from the start."""
        yield "key watch", self.keyring.watch
        yield "issuer watch", self._deps.trusted.watch
        yield "store URL watch", self.store_url.watch
        yield "loop watch", partial(watch_loop, self._deps.metrics.operation.loop_lag.observe)
        yield from self.identity.work()

    def work_on_store(self) -> Iterator[tuple[str, Work]]:
        """Yield the tasks that run once the store is verified."""
        deps = self._deps
        yield from deps.policy.work()
        yield "policy rollout", self.rollout.run
        audit = exporter(deps.store, deps.settings, deps.keys.pepper, id=self.live.fleet.id)
        watch_export(deps.metrics, audit)
        yield "audit export", audit.run
        yield "fleet size", FleetSize(deps.metrics, self.live.fleet.members).run
        yield "live copy", self.live.run
        yield "roles in use", self.undeclared_roles.run
        yield "issuer accounts", partial(deps.trusted.watch_accounts, Accounts(deps.store))

    def _wire_checks(self, deps: Dependencies) -> None:
        settings, keys = deps.settings, deps.keys
        self.tokens = TokenCache(
            verifier(settings, keys), external=deps.trusted.tokens.claimed, budget=deps.trusted.budget
        )
        deps.trusted.on_change = self.tokens.trust_changed
        deps.trusted.on_verdict = deps.metrics.trusted_issuers_rejected.set
        deps.metrics.watch_issuers(deps.trusted.health)
        name = f"{gethostname()}-{token_hex(4)}"
        self.live = RecordReplica(
            deps.store,
            id=name,
            lease=settings.lease,
            clock=since_boot,
            leeway=settings.leeway,
            seal=partial(code_of, keys.pepper),
            journal=JournalFile(settings.state_dir / JOURNAL),
        )
        self.live.close_until_proven()
        self._watch_store(deps.metrics)
        files = settings.secret_files
        self.store_url = StoreUrlWatch(
            {URL: files.get("redis_url"), PASSWORD: files.get("redis_sentinel_password")},
            {URL: settings.redis_url, PASSWORD: settings.redis_sentinel_password},
            lone_master=settings.redis_lone_master,
            take_over=self.live.take_over,
            rejected=deps.metrics.store_url_rejected.set,
        )
        self.live.fleet.set_facts(keys=keys.keys.version)
        deps.policy.attach(self.live, deps.recorder)
        self._pep_copies = PepCopies(deps.store, live=self.live.records.live)
        self._unlinked = UnlinkedSubjects(live=self.live.records.live, clock=since_boot)
        self.live.followers += [self._pep_copies, self._unlinked]
        deps.metrics.watch_store_lag(self.live.records.lag)
        deps.metrics.watch_record_copies(lambda: self.live.records.copies)
        requests, errors = deps.metrics.store_requests, deps.metrics.store_errors
        deps.store.on_request = lambda script, seconds: requests.labels(script).observe(seconds)
        deps.store.on_failure = lambda script: errors.labels(script).inc()

    def _watch_store(self, metrics: Metrics) -> None:
        live = self.live
        live.on_task_failure = lambda name: metrics.task_restarts.labels(name).inc()
        live.states.on_regression = lambda _partition: metrics.store_regressions.inc()
        metrics.store_states.names = [state.value for state in PartitionState]
        metrics.store_states.states = lambda: {p: status.state.value for p, status in live.states.all().items()}
        metrics.store_states.warnings = live.watch.kinds

    def _wire_identity(self, deps: Dependencies, stack: AsyncExitStack) -> None:
        settings, keys = deps.settings, deps.keys
        hashing = Hashing(keys.pepper)
        hashing.on_hashed = deps.metrics.operation.hash_duration.observe
        stack.callback(hashing.close)
        deps.metrics.watch_hash_queue(lambda: hashing.queue_depth)
        self.identity = serving_identity(
            settings, keys, deps.store, self.live.fleet, hashing=hashing, metrics=deps.metrics
        )
        stack.push_async_callback(self.identity.close)
        self.keyring = KeyWatcher(settings.keys_dir, keys, self._use_keys, group_read=settings.keys_group_read)
        self.live.followers.append(self.keyring)
        memory, outbox = self.identity.memory, self.identity.outbox
        watch_operation(deps.metrics, live=self.live, keyring=self.keyring, memory=memory, outbox=outbox)

    def _wire_rollout(self, deps: Dependencies) -> None:
        policy, generations, holders = deps.policy.holder, PolicyHistory(deps.store), RoleHolders(deps.store)
        policy.add_gate(RolesInUseCheck(policy, generations, holders))
        self.undeclared_roles = UndeclaredRoles(policy, holders, shared=deps.shared)
        self.rollout = PolicyRollout(
            policy,
            generations,
            self.live.fleet,
            deps.metrics,
            clock=since_boot,
            records=deps.policy.files is not None,
            last_good=deps.policy.last_good,
        )
        self.network_warnings = NetworkWarnings(proxies=bool(deps.settings.trusted_proxies))
        for listener in (self.rollout.on_activation, self.network_warnings.on_activation):
            policy.on_change(listener)
            listener(policy)

    def _app(self, deps: Dependencies) -> AppContext:
        store, records = deps.store, self.live.records
        return AppContext(
            public_config=public_config(deps.settings),
            policy=deps.policy.served,
            pdp=DecisionPoint(
                deps.policy.served,
                self.tokens,
                records,
                clock=time.time,
                outside=deps.trusted.users(store, records, self.live.fleet, self._unlinked),
                leeway=deps.settings.leeway,
                on_regression=self.live.epoch_repair.request,
            ),
            people=self.identity.people,
            pep_keys=PepKeys(self._pep_copies, deps.keys.pepper, clock=time.time, monotonic=since_boot),
            subjects=Subjects(Users(store), records, normalise=emails.normalise, is_mailbox=emails.is_mailbox),
            revisions=RevisionChecker(store, records, clock=since_boot),
            health=self._health(deps),
            metrics=deps.metrics,
            recorder=deps.recorder,
            policy_history=PolicyHistory(store),
            stored_policy=deps.policy.stored,
            previews=Previews(deps.shared),
        )

    def _health(self, deps: Dependencies) -> Health:
        return Health(
            version=__version__,
            policy=deps.policy.holder,
            policy_check=deps.policy.check,
            stored=deps.policy.stored,
            states=self.live.states,
            lags=self.live.records.lags,
            known_users=self.live.records.known_users,
            restoring=lambda: self.live.fleet.restoring,
            warnings=lambda: (
                *self.live.watch.warnings,
                *deps.policy.warnings,
                *self.network_warnings.of(deps.policy.holder),
                *self.undeclared_roles.warnings,
            ),
            fleet=self.live.fleet.members,
            lease=deps.settings.lease,
            store_address=store_place(deps.settings),
            clock=time.time,
        )

    def _use_keys(self, keys: LoadedKeys) -> None:
        """Sign and verify with another key set from now on."""
        self.identity.people.issuer.keys = keys.keys
        self.tokens.replace(verifier(self._deps.settings, keys))
        self.live.fleet.set_facts(keys=keys.keys.version)


def verifier(settings: Settings, keys: LoadedKeys) -> Verifier:
    return Verifier(keys.keys, settings.issuer, settings.audience, settings.access_ttl, settings.leeway)


def public_config(settings: Settings) -> PublicConfig:
    return PublicConfig(
        public_url=settings.public_url,
        origins=frozenset({origin_of(settings.public_url)}),
        cookie=cookie_name(settings.public_url),
        unavailable_status=settings.unavailable_status,
        trusted_proxies=settings.trusted_proxies,
        hosts=host_names(settings.public_url, settings.allowed_hosts),
        max_body=settings.max_body,
        seat_contact=settings.seat_contact,
        login_page=login_page(settings.login_url, settings.public_url) if settings.login_url else None,
        pdp_url=check_url(settings),
    )
