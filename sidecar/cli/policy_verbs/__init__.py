"""``sidecar policy …``: one verb a file, loaded when it is called."""
