"""From the bytes of the policy files to decisions. Pure: reads its arguments, knows neither tokens nor the store."""
