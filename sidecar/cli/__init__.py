"""The command line: one noun a file, loaded only when its verb is called."""
