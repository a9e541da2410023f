-- standalone, include: generations
-- Record the activation of a generation in a sidecar. KEYS: generations, log of events outside all accounts.
-- ARGV[1]: arguments, JSON.
local before = remembered()
if before then return before end
return remember(record_generation(nil))
