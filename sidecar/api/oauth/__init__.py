"""OAuth 2: grants, revocation, introspection, keys and metadata (RFC 6749, 7009, 7517, 7662, 8414)."""
