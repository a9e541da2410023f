"""What is read from outside (policy files, key files, foreign key sets), handed on as values."""
