"""Is the store the known one? Proofs, states of partitions, data sets, and how the servers are set up (R46 to R52)."""
