"""Policy decision point: combines policy, token and live record into one decision."""
