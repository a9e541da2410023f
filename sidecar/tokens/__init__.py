"""Tokens, keys and secrets as pure values: time and entropy are arguments, and no key is read from disk."""
