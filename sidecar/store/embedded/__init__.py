"""Valkey as a child process on a Unix socket, for a sidecar without an external store."""
