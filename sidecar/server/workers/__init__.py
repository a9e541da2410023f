"""Several processes on one port: the supervisor, its worker pool, and what both serve to operators."""
