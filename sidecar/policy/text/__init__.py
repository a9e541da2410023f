"""Text of the policy files: characters, CSV, TOML, and its mechanical edits (format, repair)."""
