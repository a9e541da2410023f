"""Metrics, logs and the decision log: what an operator sees of the sidecar, and never a secret."""
