"""People: signing in, inviting, passwords, sessions. Rules and work around the store's transitions."""
