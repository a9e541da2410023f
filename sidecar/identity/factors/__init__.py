"""Second factors: one-time codes, passkeys, recovery codes, and the steps that use them (R34 to R38, R41)."""
