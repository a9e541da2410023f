-- Open a session after a correct password, if the epoch of that comparison is still the stored one.
local before = remembered()
if before then return before end
local home = key('u:' .. A.uid)
local now = redis.call('HMGET', home, 'tv', 'st', 'hold')
if not now[1] or now[2] ~= 'active' or now[3] or redis.call('HGET', ACCT, 'st') ~= 'active' then return outcome('no_user') end
if now[1] ~= A.epoch then return answer({ o = 'stale', tv = now[1] }) end

local n = publish('user', A.uid, now[1], home, live_sessions(A.uid) >= MAX_SESSIONS)
local ended = open_session(A.uid, now[1], A.session)
redis.call('HSET', home, 'seen', int(NOW))
if #ended > 0 then audit('session.ended', A.uid, { sessions = ended }, nil, A.uid) end
audit('session.opened', A.uid, nil, { session = A.session.id }, A.uid)
return remember({ o = 'opened', r = record(A.uid), n = n, ended = #ended > 0 and '1' or '0' })
