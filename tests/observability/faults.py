"""Made-up series for each alert: a fault that fires it, in the notation of ``promtool test rules``, every minute.

A counter that is 0 for five minutes and then 1 is written ``0x5 1x95``; ``_x5``: it is absent for five minutes.
"""

from typing import Final

ONE: Final = 'job="sidecar", instance="a"'
TWO: Final = 'job="sidecar", instance="b"'

Series = dict[str, str]


def constant(series: str, value: float, labels: str = ONE) -> Series:
    name, _, own = series.partition("{")
    return {f"{name}{{{labels}{', ' + own.rstrip('}') if own else ''}}}": f"{value}x95"}


def rising(series: str, step: float = 60) -> Series:
    return {name: f"0+{step}x95" for name in constant(series, 0)}


def once(series: str) -> Series:
    """A counter that exists, and counts one event after five minutes."""
    return {name: "0x5 1x95" for name in constant(series, 0)}


def slow(metric: str, bound: str, labels: str = "") -> Series:
    """A histogram whose observations are all above ``bound`` seconds."""
    more = f", {labels}" if labels else ""
    return {
        **constant(f'{metric}_bucket{{le="{bound}"{more}}}', 0),
        **rising(f'{metric}_bucket{{le="5.0"{more}}}'),
        **rising(f'{metric}_bucket{{le="+Inf"{more}}}'),
    }


FAULTS: Final[dict[str, tuple[Series, ...]]] = {
    "SidecarDown": (constant("up", 0),),
    "SidecarNotReady": (constant("sidecar_ready", 0),),
    "SidecarWorkersNotReady": (constant("sidecar_ready", 3) | constant("sidecar_workers", 4),),
    "SidecarVersionsDiffer": (
        constant('sidecar_build_info{version="1"}', 1) | constant('sidecar_build_info{version="2"}', 1, TWO),
    ),
    "SidecarNotInFleet": (
        constant("sidecar_build_info", 1)
        | constant("sidecar_build_info", 1, TWO)
        | constant("sidecar_fleet_members", 1)
        | constant("sidecar_fleet_members", 1, TWO),
    ),
    "SidecarChecksUndecided": tuple(
        rising('sidecar_checks_total{reason="allowed"}', 100) | rising(f'sidecar_checks_total{{reason="{reason}"}}', 2)
        for reason in ("store_unavailable", "policy_unavailable", "overloaded")
    ),
    "SidecarBadRequests": (
        rising('sidecar_checks_total{reason="allowed"}', 100) | rising('sidecar_checks_total{reason="bad_request"}', 6),
    ),
    "SidecarChecksSlow": (slow("sidecar_check_duration_seconds", "0.05"),),
    "SidecarEventLoopBlocked": (slow("sidecar_event_loop_lag_seconds", "0.1"),),
    "SidecarConnectionsRefused": (once("sidecar_connections_refused_total"),),
    "SidecarDescriptorsLow": (
        constant("process_open_fds", 900) | constant("process_max_fds", 1000) | constant("sidecar_build_info", 1),
    ),
    "SidecarDecisionsNotLogged": (once("sidecar_decision_log_dropped_total"),),
    "SidecarStoreUnavailable": tuple(
        constant('sidecar_store_state{partition="00", state="ok"}', 0)
        | constant(f'sidecar_store_state{{partition="00", state="{state}"}}', 1)
        for state in ("out", "refusing", "changed", "regressed", "recovering")
    ),
    "SidecarStoreRegressed": (once("sidecar_store_regressions_total"),),
    "SidecarStoreErrors": (
        rising('sidecar_store_request_duration_seconds_count{operation="read"}', 100)
        | rising('sidecar_store_errors_total{operation="read"}', 2),
    ),
    "SidecarStoreSlow": (slow("sidecar_store_request_duration_seconds", "0.05", 'operation="read"'),),
    "SidecarStoreMemory": (constant("sidecar_store_memory_ratio", 0.8),),
    "SidecarStoreWarning": (constant('sidecar_store_warnings{kind="durability"}', 1),),
    "SidecarFeedBehind": (constant("sidecar_store_lag_seconds", 6),),
    "SidecarCopiesOld": (constant("sidecar_record_copies_age_seconds", 6),),
    "SidecarEmbeddedStoreRestarts": (once("sidecar_embedded_store_restarts_total"),),
    "SidecarRevocationsIncomplete": (once("sidecar_revocations_incomplete_total"),),
    "SidecarPolicyRejected": (constant("sidecar_policy_rejected", 1),),
    "SidecarPolicyBehind": (constant("sidecar_policy_behind_seconds", 301),),
    "SidecarPolicyDiffers": (
        constant('sidecar_policy_info{generation="g1"}', 1) | constant('sidecar_policy_info{generation="g2"}', 1, TWO),
    ),
    "SidecarPolicyReverted": (once("sidecar_policy_reverted_total"),),
    "SidecarCertificateRejected": (constant("sidecar_tls_rejected", 1),),
    "SidecarCertificateExpires": (constant("sidecar_tls_expiry_timestamp_seconds", 86400 * 13),),
    "SidecarIssuersRejected": (constant("sidecar_trusted_issuers_rejected", 1),),
    "SidecarIssuerKeys": (
        constant('sidecar_issuer_keys_failing{issuer="https://i"}', 1),
        constant('sidecar_issuer_keys_left_out{issuer="https://i"}', 1),
    ),
    "SidecarIssuerAccountsMissing": (constant('sidecar_issuer_accounts_missing{issuer="https://i"}', 1),),
    "SidecarStoreUrlRejected": (constant("sidecar_store_url_rejected", 1),),
    "SidecarSigningKeyOld": (constant("sidecar_signing_key_timestamp_seconds", -86400 * 366),),
    "SidecarAuditNotExported": (constant("sidecar_audit_export_age_seconds", 301),),
    "SidecarMailsNotSent": (
        once('sidecar_mails_total{source="user", outcome="failed"}'),
        # the first failure creates the series
        {f'sidecar_mails_total{{{ONE}, source="user", outcome="failed"}}': "_x5 1x95"},
    ),
    "SidecarMailsWaiting": (
        constant('sidecar_mails_waiting{source="user"}', 60) | constant('sidecar_mails_waiting{source="stranger"}', 60),
    ),
    "SidecarSignInFailures": tuple(
        rising(f'sidecar_logins_total{{outcome="{outcome}"}}', 80)
        for outcome in ("invalid_grant", "wrong_code", "rate_limited")
    ),
    "SidecarHashingSlow": (slow("sidecar_hash_duration_seconds", "2.5"),),
    "SidecarApiErrors": (
        rising('sidecar_http_requests_total{endpoint="/v1/me", status="200"}', 100)
        | rising('sidecar_http_requests_total{endpoint="/v1/me", status="503"}', 10),
    ),
    "SidecarApiSlow": (slow("sidecar_http_request_duration_seconds", "2.5", 'endpoint="/v1/users"'),),
    "SidecarTaskRestarts": (
        once('sidecar_task_restarts_total{task="feed"}'),
        {f'sidecar_task_restarts_total{{{ONE}, task="feed"}}': "_x5 1x95"},
    ),
    "SidecarWorkerRestarts": (rising("sidecar_worker_restarts_total", 1),),
    "SidecarWorkerRestartsPaused": (constant("sidecar_worker_restarts_paused_seconds", 20),),
}
"""Each tuple: series of one fault. The fault fires this alert and no other."""
