-- R14: replace the token of counter c by that of c+1. Within the grace period a retry gets the same successor, while
-- that is unused. An older token ends the session. A token ahead of the store means that the store lost writes. Limited
-- per session.
local before = remembered()
if before then return before end
local home, place = key('u:' .. A.uid), key('s:' .. A.sid)
local session = hash(place)
local now = redis.call('HMGET', home, 'tv', 'st', 'hold')
local ends = redis.call('ZSCORE', key('us:' .. A.uid), A.sid)
if not session.u or session.u ~= A.uid or not ends or tonumber(ends) <= NOW then return outcome('gone') end
if not now[1] or now[2] ~= 'active' or now[3] or redis.call('HGET', ACCT, 'st') ~= 'active' then return outcome('gone') end
if session.tv ~= now[1] then return outcome('gone') end

local given, held = tonumber(A.counter), tonumber(session.c)
if given > held then return outcome('behind') end
local retry = given == held - 1 and NOW - tonumber(session.ct) <= A.grace
if given < held and not retry then
  local n = publish('user', A.uid, now[1], home, true)
  end_session(A.uid, A.sid)
  audit('session.reused', A.uid, { session = A.sid }, nil, A.uid)
  return remember({ o = 'reused', n = n })
end

-- Bucket of the session (GCRA, as in limit_take.lua). Retries count; reuse is handled above and never waits.
local most = A.interval * A.burst
local filled = tonumber(session.due or '0')
if filled > NOW + most then -- R52: from a clock that ran ahead. Set it once, so that it passes.
  filled = NOW + most
  redis.call('HSET', place, 'due', int(filled))
end
local due = math.max(filled, NOW) + A.interval
if due > NOW + most then return answer({ o = 'limited', wait = int(due - NOW - most) }) end
redis.call('HSET', place, 'due', int(due))
if retry then
  return answer({ o = 'rotated', r = record(A.uid), c = session.c, n = redis.call('GET', FEED .. ':n') or '0' })
end

local n = publish('user', A.uid, now[1], home)
local until_ms = int(math.min(NOW + A.ttl, tonumber(session.abs)))
redis.call('HSET', place, 'c', int(held + 1), 'ct', int(NOW), 'addr', A.by.addr)
redis.call('PEXPIREAT', place, until_ms)
redis.call('ZADD', key('us:' .. A.uid), until_ms, A.sid)
keep_sessions_until_last(A.uid)
return remember({ o = 'rotated', r = record(A.uid), c = int(held + 1), n = n })
