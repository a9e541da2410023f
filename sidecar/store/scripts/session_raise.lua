-- include: factors
-- Step up: add a proof to the session that asked (R41). Its end stays. A.rotate: the next refresh token's counter, for a
-- browser, whose cookies are replaced.
local before = remembered()
if before then return before end
local home, place = key('u:' .. A.uid), key('s:' .. A.by.sid)
local now = redis.call('HMGET', home, 'tv', 'st', 'hold')
if not now[1] or now[2] ~= 'active' or now[3] or not actor_holds() then return outcome('actor_changed') end
local ends = redis.call('ZSCORE', key('us:' .. A.uid), A.by.sid)
if not ends or tonumber(ends) <= NOW then return outcome('actor_changed') end
if A.proof then
  local reason = rejected_proof(A.uid, A.proof)
  if reason then return reject_proof(A.uid, A.proof, reason) end
elseif has_factor(A.uid) then
  return outcome('factor_required')
end

local n = publish('user', A.uid, now[1], home, true)
if A.proof then use_proof(A.uid, A.proof) end
raise_session(A.uid, A.by.sid, A.proofs)
local counter = redis.call('HGET', place, 'c')
if A.rotate then
  counter = redis.call('HINCRBY', place, 'c', 1)
  redis.call('HSET', place, 'ct', int(NOW))
end
audit('session.raised', A.uid, nil, { session = A.by.sid, method = A.proofs[1][1] })
return remember({ o = 'raised', r = record(A.uid), n = n, c = int(tonumber(counter)), ends = ends })
