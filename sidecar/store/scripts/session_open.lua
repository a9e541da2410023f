-- include: factors
-- Open a session after a correct password, if the epoch of that comparison is still the stored one. A user with a second
-- factor also needs A.proof, which is used up in the same step (R34).
local before = remembered()
if before then return before end
local home = key('u:' .. A.uid)
local now = redis.call('HMGET', home, 'tv', 'st', 'hold')
if not now[1] or now[2] ~= 'active' or now[3] or redis.call('HGET', ACCT, 'st') ~= 'active' then return outcome('no_user') end
if now[1] ~= A.epoch then return answer({ o = 'stale', tv = now[1] }) end
if A.proof then
  local reason = rejected_proof(A.uid, A.proof)
  if reason then return reject_proof(A.uid, A.proof, reason) end
elseif has_factor(A.uid) then
  return outcome('factor_required')
end

local n = publish('user', A.uid, now[1], home, live_sessions(A.uid) >= MAX_SESSIONS)
if A.proof then use_proof(A.uid, A.proof) end
local ended = open_session(A.uid, now[1], A.session)
redis.call('HSET', home, 'seen', int(NOW))
if #ended > 0 then audit('session.ended', A.uid, { sessions = ended }, nil, A.uid) end
audit('session.opened', A.uid, nil, { session = A.session.id }, A.uid)
return remember({ o = 'opened', r = record(A.uid), n = n, ended = #ended > 0 and '1' or '0' })
