-- Raise the epoch and end every session. The gap that marks a repaired epoch (tv > pwtv) is preserved.
local before = remembered()
if before then return before end
local home = key('u:' .. A.uid)
local now = redis.call('HMGET', home, 'tv', 'pwtv', 'role')
if not now[1] then return outcome('no_user') end
if not actor_holds() then return outcome('actor_changed') end
if A.expected_role and now[3] ~= A.expected_role then return outcome('actor_changed') end

local epoch = int(tonumber(now[1]) + 1)
local n = publish('user', A.uid, epoch, home, true)
redis.call('HSET', home, 'tv', epoch, 'tvt', int(NOW), 'changed', int(NOW))
if now[1] == now[2] then redis.call('HSET', home, 'pwtv', epoch) end
end_sessions(A.uid)
audit('user.signed_out', A.uid, { epoch = now[1] }, { epoch = epoch })
return remember({ o = 'changed', r = record(A.uid), n = n })
