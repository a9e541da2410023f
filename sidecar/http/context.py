"""Dependencies of the handlers, built once by the composition root. Contains values and services, never Settings."""

from dataclasses import dataclass, field

from sidecar.http.client_ip import Network
from sidecar.http.login_page import LoginPage
from sidecar.identity.pep_keys import PepKeys
from sidecar.identity.services import IdentityServices
from sidecar.pdp.decision_point import DecisionPoint
from sidecar.pdp.evaluation import Subjects
from sidecar.pdp.health import Health, StoredPolicy
from sidecar.pdp.policy_holder import ServedPolicy
from sidecar.pdp.preview import Previews
from sidecar.store.live.revision_status import RevisionChecker
from sidecar.store.policy_history import PolicyHistory
from sidecar.telemetry.check_recorder import CheckRecorder
from sidecar.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class PublicConfig:
    """Public configuration of the sidecar, from which links, cookies and errors are made.

    ``pdp_url``: base URL of the check endpoints for PEPs if it differs from ``public_url`` (SIDECAR_CHECK_LISTEN).
    """

    public_url: str
    origins: frozenset[str]
    cookie: str
    unavailable_status: int
    trusted_proxies: tuple[Network, ...]
    max_body: int
    seat_contact: str
    hosts: frozenset[str] = frozenset()
    login_page: LoginPage | None = None
    pdp_url: str = ""


@dataclass(frozen=True, slots=True)
class AppContext:
    """Dependencies of the handlers. One instance per worker."""

    public_config: PublicConfig
    policy: ServedPolicy
    pdp: DecisionPoint
    people: IdentityServices
    pep_keys: PepKeys
    subjects: Subjects
    revisions: RevisionChecker
    health: Health
    metrics: Metrics
    recorder: CheckRecorder
    policy_history: PolicyHistory
    stored_policy: StoredPolicy | None = None
    previews: Previews = field(default_factory=Previews)
