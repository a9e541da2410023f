"""Valkey as a child process on a Unix socket, for a sidecar without a store of its own."""
