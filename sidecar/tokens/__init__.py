"""Signatures and secrets as values. Pure: the time and the entropy are arguments, no key is read from a disk here."""
