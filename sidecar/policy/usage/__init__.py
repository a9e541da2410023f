"""Usage of the policy: rights in a decision log, rights that no user needed, and a tighter policy."""
