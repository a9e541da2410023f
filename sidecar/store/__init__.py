"""The store: Redis, and nothing but Redis. One noun a file, one Lua script a transition, every outcome a value."""
