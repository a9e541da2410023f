"""From the bytes of the policy files to decisions. Pure: reads only its arguments, knows neither tokens nor the store."""
