"""Several processes on one port: supervisor, worker pool and their ops endpoints."""
