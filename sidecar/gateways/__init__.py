"""Gateway adapters, one file per gateway family: headers to a question, a decision to a response."""
