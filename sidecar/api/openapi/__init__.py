"""The OpenAPI 3.1 document of everything that is served over HTTP, made from the tables that serve it."""
