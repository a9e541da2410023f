-- Repair a record after lost writes: an authentic token is ahead of it. pwtv stays, so that a sign-in detects it.
local before = remembered()
if before then return before end
local count = redis.call('HGET', ACCT, 'seq')
if count and tonumber(A.seen) > tonumber(count) then redis.call('HSET', ACCT, 'seq', int(tonumber(A.seen))) end
local home = key('u:' .. A.uid)
local now = redis.call('HGET', home, 'tv')
if not now then return outcome('no_user') end
local epoch = math.min(tonumber(A.floor), tonumber(now) + 100)
if epoch <= tonumber(now) then return answer({ o = 'unchanged', r = record(A.uid) }) end

local n = publish('user', A.uid, int(epoch), home, true)
redis.call('HSET', home, 'tv', int(epoch), 'tvt', int(NOW))
end_sessions(A.uid)
audit('user.epoch_raised', A.uid, { epoch = now }, { epoch = int(epoch) })
return remember({ o = 'changed', r = record(A.uid), n = n })
