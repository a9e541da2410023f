"""One file a gateway family: headers to a question, a decision to an answer. None knows another."""
