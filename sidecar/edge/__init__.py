"""HTTP and gRPC. Translates between the wire and the rooms; decides nothing."""
