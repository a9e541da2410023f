"""The command line: one module per noun, loaded when its verb is called."""
