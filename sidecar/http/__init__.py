"""HTTP without endpoints: requests, responses, problems, credentials and authorization."""
