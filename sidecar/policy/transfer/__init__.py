"""Policy files as one value: packed for the store, signed and verified."""
