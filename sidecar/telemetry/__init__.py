"""Metrics, application log and decision log of the sidecar. None of them contains a secret."""
