-- include: factors
-- Remove all factors of another user, and end that user's sessions (R11, R37).
local before = remembered()
if before then return before end
if not actor_holds() then return outcome('actor_changed') end
local home = key('u:' .. A.uid)
local now = redis.call('HMGET', home, 'role', 'tv')
if not now[1] then return outcome('no_user') end
if A.expected_role and now[1] ~= A.expected_role then return outcome('actor_changed') end
local removed = {}
for id in pairs(factors_of(A.uid)) do removed[#removed + 1] = id end
if #removed == 0 then return already({ o = 'unchanged', r = record(A.uid) }) end

table.sort(removed)
local n = publish('user', A.uid, now[2], home, true, { factors = true })
end_sessions(A.uid)
drop_factors(A.uid)
audit('factor.reset', A.uid, { factors = removed }, nil)
return remember({ o = 'changed', r = record(A.uid), n = n })
