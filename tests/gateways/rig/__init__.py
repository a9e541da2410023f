"""The rig: a sidecar and an echo back end that really run, gateways between them, raw sockets in front."""
