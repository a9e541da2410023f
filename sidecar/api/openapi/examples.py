"""Examples of bodies and responses for the OpenAPI document, by the name of their schema.

Tests validate each against its schema, and require one for each schema of a whole body or response.
"""

from typing import Any, Final

from sidecar.api.openapi import factor_examples

URL: Final = "https://sidecar.example"
ACCOUNT: Final = "acc_5gbb5mgt5pow"
USER: Final = "usr_5gbb5mgt5pow_4akm2cucdg6b"
SESSION: Final = "ses_edhagqwhoqkpnicerwl7d56e3a"
GENERATION: Final = "3f1c5a0e9b7d4c2f8a6e1d0b9c8f7a65"
WHEN: Final = "2026-11-24T09:30:00Z"
LATER: Final = "2026-12-01T09:30:00Z"
RULE: Final = "policy/policy.csv:12"
ACCESS: Final = "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCIsImtpZCI6IuKApiJ9.eyJpc3MiOiLigKYifQ.c2lnbmF0dXJl"
REFRESH: Final = "rt_5gbb5mgt5pow_4akm2cucdg6b_edhagqwhoqkpnicerwl7d56e3a_0_proof"
LINK_SECRET: Final = "inv_5gbb5mgt5pow_4akm2cucdg6b_secret"  # noqa: S105 (an example)
CHOSEN: Final = "unquiet-otter-marble-41"
EMAIL: Final = "eve@acme.example"

_SEATS: Final = {"cap": 5, "used": 2, "members": 1, "invited": 1, "available": 3, "contact": "sales@example.com"}
_USER: Final = {"id": USER, "email": EMAIL, "name": "Eve", "role": "accountant", "status": "active", "account": ACCOUNT}
_REVOCATION: Final = {"complete": True, "sidecars": 2, "waited_ms": 3}
_CELL: Final = {"section": "billing", "action": "view"}
_TITLED: Final = {"section": "billing", "section_title": "Billing", "action": "view", "action_title": "View"}
_DECIDED: Final = {"decision": True, "reason": "allowed"}
_PAGE: Final = {"next_token": "", "count": 1, "total": 1}
_SUBJECT: Final = {"type": "user", "id": EMAIL}
_RESOURCE: Final = {"type": "section", "id": "billing"}
_ACTION: Final = {"name": "view"}

BODIES: Final[dict[str, Any]] = {
    "AcceptBody": {"token": LINK_SECRET, "password": CHOSEN, "name": "Eve"},
    "ActionSearch": {"subject": _SUBJECT, "resource": _RESOURCE},
    "Check": _CELL,
    "Checks": {"checks": [_CELL, {"section": "media-library", "action": "upload"}]},
    "EditBody": {"role": "accountant"},
    "ProfileBody": {"name": "Eve"},
    "ReviewBody": {"role": "accountant", "status": "active"},
    "Evaluation": {"subject": _SUBJECT, "action": _ACTION, "resource": _RESOURCE},
    "Evaluations": {"subject": _SUBJECT, "action": _ACTION, "evaluations": [{"resource": _RESOURCE}]},
    "ForgotBody": {"email": EMAIL},
    "InviteBody": {"email": EMAIL, "role": "accountant", "name": "Eve"},
    "PasswordBody": {"old_password": CHOSEN, "new_password": "velvet-anchor-pigeon-77"},
    "PasswordGrant": {"grant_type": "password", "username": EMAIL, "password": CHOSEN},
    "PreviewBody": {"files": {"policy.csv": "p, accountant, billing, *, allow\n"}},
    "RefreshGrant": {"grant_type": "refresh_token", "refresh_token": REFRESH},
    "ResetRequestBody": {"show": True},
    "ResetBody": {"token": "rst_5gbb5mgt5pow_4akm2cucdg6b_secret", "password": CHOSEN},
    "ResourceSearch": {"subject": _SUBJECT, "action": _ACTION, "resource": {"type": "section"}},
    "ShowBody": {"token": LINK_SECRET},
    "SignInBody": {"username": EMAIL, "password": CHOSEN},
    "SubjectSearch": {"subject": {"type": "user"}, "action": _ACTION, "resource": _RESOURCE},
    "TokenQuery": {"token": ACCESS},
}

ANSWERS: Final[dict[str, Any]] = {
    "Account": {"id": ACCOUNT, "name": "Acme", "seats": _SEATS, "labels": {"plan": "pro"}},
    "Actions": {"results": [_ACTION], "page": _PAGE},
    "CheckResponse": {**_DECIDED, "rule": RULE, "generation": GENERATION},
    "Decision": {"decision": True, "context": {"reason": "allowed"}},
    "Decisions": {"evaluations": [{"decision": True}]},
    "Denial": {"decision": False, "reason": "expired", "message": "the token has expired", "generation": GENERATION},
    "EditedUser": {**_USER, "revocation": _REVOCATION},
    "Entities": {"results": [{"type": "user", "id": USER}], "page": _PAGE},
    "AuditEntries": {
        "entries": [
            {
                "seq": 7,
                "at": WHEN,
                "action": "user.changed",
                "actor": USER,
                "actor_name": "Eve",
                "actor_email": EMAIL,
                "target": USER,
                "target_name": "Eve",
                "target_email": EMAIL,
                "before": {"role": "marketer"},
                "after": {"role": "accountant"},
                "address": "192.0.2.1",
                "request_id": "r-1",
            }
        ],
        "next": None,
        "verified_up_to": 7,
        "policy_changes": [],
    },
    "Explained": {
        "role": "accountant",
        **_CELL,
        **_DECIDED,
        "hint": None,
        "rule": RULE,
        "text": "p, accountant, billing, *, allow",
        "path": [],
        "overridden": None,
        "nearest": None,
        "edits": [],
        "side_effects": {"count": 0, "cells": []},
        "roles": ["account-administrator", "accountant"],
        "generation": GENERATION,
        "user": None,
    },
    "Grant": {
        "access_token": ACCESS,
        "token_type": "Bearer",
        "expires_in": 900,
        "refresh_token": REFRESH,
        "scope": "",
        "account": ACCOUNT,
        "user": _USER,
    },
    "ReadinessReport": {"status": "ok"},
    "ActivePolicySummary": {
        "generation": GENERATION,
        "loaded_at": WHEN,
        "state": "current",
        "sidecars": {"in_force": 3, "live": 3},
        "roles": [{"id": "accountant", "title": "Accountant", "description": "", "assignable": True, "inherits": []}],
        "sections": [{"id": "billing", "title": "Billing", "actions": ["view", "change-plan"]}],
    },
    "Introspection": {
        "active": True,
        "token_type": "Bearer",
        "iss": URL,
        "sub": USER,
        "client_id": USER,
        "aud": "dashboard",
        "exp": 1_795_995_546,
        "iat": 1_795_994_646,
        "jti": "67f7vmyt73p4h7rql77vpzz5la",
        "username": EMAIL,
        "acct": ACCOUNT,
        "user": USER,
        "sid": SESSION,
        "auth_time": 1_795_994_646,
        "amr": ["mfa", "otp", "pwd"],
    },
    "Invited": {
        "user": {**_USER, "status": "invited"},
        "invitation": {"url": f"{URL}/console/invitation#{LINK_SECRET}", "expires_at": LATER, "mailed": True},
    },
    "KeySetShown": {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                "alg": "EdDSA",
                "use": "sig",
            }
        ]
    },
    "Matrix": {"generation": GENERATION, "cells": [{"role": "accountant", **_CELL, **_DECIDED, "rule": RULE}]},
    "Message": {"message": "done"},
    "Metadata": {
        "policy_decision_point": URL,
        "access_evaluation_endpoint": f"{URL}/access/v1/evaluation",
        "access_evaluations_endpoint": f"{URL}/access/v1/evaluations",
        "search_subject_endpoint": f"{URL}/access/v1/search/subject",
        "search_resource_endpoint": f"{URL}/access/v1/search/resource",
        "search_action_endpoint": f"{URL}/access/v1/search/action",
    },
    "Generations": {
        "generations": [
            {"generation": GENERATION, "first_at": WHEN, "last_at": None, "noticed_by": "edit", "direction": "forward"}
        ],
        "current": GENERATION,
    },
    "OAuthError": {"error": "invalid_grant", "error_description": "the e-mail, the password or the token is wrong"},
    "PasswordChanged": {
        "message": "Password changed. All older tokens are revoked.",
        "expires_in": 900,
        "revocation": _REVOCATION,
        "access_token": ACCESS,
        "refresh_token": REFRESH,
        "token_type": "Bearer",
    },
    "PasswordSetResponse": {"user": _USER, "account": ACCOUNT},
    "Permissions": {
        "role": "accountant",
        "role_title": "Accountant",
        "generation": GENERATION,
        "permissions": [{**_TITLED, **_DECIDED}],
    },
    "PolicyShadow": {"candidate": GENERATION, "ready": 2, "sidecars": 3, "until": WHEN, "changes": []},
    "Preview": {
        "generation": GENERATION,
        "valid": True,
        "diagnostics": [],
        "renames": [],
        "changes": [{"role": "marketer", **_CELL, "from": "deny", "to": "allow", "users": []}],
        "routes": [],
        "expectations": {"passed": 96, "failed": []},
        "omitted": {"diagnostics": 0, "renames": 0, "changes": 0, "users": 0, "routes": 0, "failed": 0},
    },
    "ProblemBody": dict(type="about:blank", title="Not found", status=404, code="not_found", detail="no user"),
    "ResetCreated": {
        "mailed": False,
        "reset": {"url": f"{URL}/console/reset#rst_5gbb5mgt5pow_4akm2cucdg6b_secret", "expires_at": LATER},
    },
    "Roles": {
        "roles": [
            {
                "id": "accountant",
                "title": "Accountant",
                "description": "",
                "opens": ["billing"],
                "permissions": [_TITLED],
                "everything": False,
            }
        ]
    },
    "Roster": {
        "users": [
            {
                "id": USER,
                "email": EMAIL,
                "name": "Eve",
                "role": "accountant",
                "status": "active",
                "created_at": WHEN,
                "last_login_at": None,
                "invite_expires_at": None,
                "review": None,
                "email_verified": True,
                "sessions": 1,
                "inviter": "Ada",
                "factors": 1,
            }
        ],
        "seats": _SEATS,
    },
    "ServerMetadata": {
        "issuer": URL,
        "token_endpoint": f"{URL}/token",
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint": f"{URL}/revoke",
        "revocation_endpoint_auth_methods_supported": ["none"],
        "introspection_endpoint": f"{URL}/introspect",
        "introspection_endpoint_auth_methods_supported": ["Bearer"],
        "jwks_uri": f"{URL}/.well-known/jwks.json",
        "grant_types_supported": ["password", "refresh_token"],
        "response_types_supported": ["none"],
    },
    "Sessions": {
        "sessions": [
            {
                "id": SESSION,
                "current": True,
                "created_at": WHEN,
                "refreshed_at": WHEN,
                "expires_at": LATER,
                "address": "192.0.2.1",
                "agent": "Mozilla/5.0",
            }
        ]
    },
    "ShownInvitation": {
        "account": "Acme",
        "inviter": "Ada",
        "role": {"id": "accountant", "title": "Accountant", "opens": ["Billing"]},
        "email": EMAIL,
        "name": "Eve",
        "expires_at": LATER,
    },
    "StatusReport": {
        "version": "1.0.0",
        "uptime_s": 12.5,
        "generation": GENERATION,
        "state": "current",
        "loaded_at": WHEN,
        "diagnostics": [],
        "fleet": [],
        "store": "ok",
        "store_address": "redis://127.0.0.1:6379/0",
        "store_state": "ok",
        "store_reason": "",
        "warnings": [],
        "lag_s": 0.01,
        "time_zones": None,
        **dict(policy_source="store", policy_revision=812, policy_counter=2, policy_problem="", candidate=None),
    },
    "Me": {**_USER, "role_title": "Accountant", "email_verified": True},
}

EXAMPLES: Final[dict[str, Any]] = {**BODIES, **ANSWERS, **factor_examples.BODIES, **factor_examples.ANSWERS}


def named(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the ``examples`` of a media type for a reference, or for several; empty if there are none."""
    refs = [one.get("$ref", "") for one in schema.get("anyOf", [schema])]
    names = [ref.rpartition("/")[2] for ref in refs]
    return {name: {"value": EXAMPLES[name]} for name in names if name in EXAMPLES}
