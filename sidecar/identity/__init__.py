"""Sign-in, invitations, passwords and sessions: rules and work around the store's transitions."""
