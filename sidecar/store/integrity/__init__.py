"""Integrity of the store: proofs, partition states, data sets and the setup of the servers (R46 to R52)."""
