-- include: factors
-- Replace all recovery codes of a user with a factor. The record does not contain them, so there is no event.
local before = remembered()
if before then return before end
if not actor_holds() then return outcome('actor_changed') end
if not has_factor(A.uid) then return outcome('gone') end
keep_codes(A.uid, A.codes)
audit('factor.recovery_codes', A.uid, nil, { codes = #A.codes })
return remember({ o = 'replaced' })
