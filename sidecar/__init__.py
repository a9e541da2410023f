"""Policy-as-code authorization sidecar: gateways send checks, a Casbin policy decides, revoked tokens fail at once."""

__version__ = "1.0.0"
