"""The rig: a real sidecar and an echo back end, gateways between them, raw sockets in front."""
