"""Policy compiler and decisions: bytes → Generation → Ruling. Pure functions: no files, tokens or clock."""
