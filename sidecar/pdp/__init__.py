"""The policy decision point: puts policy, token and live record together into one decision."""
