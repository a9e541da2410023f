"""OpenAPI 3.1 document of all HTTP endpoints, derived from their tables."""
