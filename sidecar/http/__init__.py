"""HTTP without endpoints: requests, responses, problems, credentials, and who may call (authorization.py)."""
