"""Direct reads of live records: asked together, and held to what was seen before."""
