"""Servers of the store: the URL, connections, the masters of a Sentinel or Cluster, remedies for wrong ones."""
