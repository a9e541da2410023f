"""The truth about people, in Redis: one noun a file, one Lua script a transition, typed outcomes."""
