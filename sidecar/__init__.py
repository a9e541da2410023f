"""A policy-as-code authorization sidecar: gateways ask, a Casbin policy answers, revoked tokens are dead at once."""

__version__ = "0.1.0"
