"""Redis store. One module per noun, one Lua script per transition, every outcome a value."""
