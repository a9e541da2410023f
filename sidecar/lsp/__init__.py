"""Language server for the policy files (`sidecar policy lsp`). It reads files, and writes to its client alone."""
