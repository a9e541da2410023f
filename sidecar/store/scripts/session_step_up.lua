-- include: factors
-- R41: add proofs to the actor's own session, and to no other one. The event has an ack: copies without the proofs would
-- deny what the proofs permit. A user with a second factor needs A.proof, which is used up in the same step (R34).
-- A.rotate: replace the refresh tokens so far, for a browser, whose cookies are replaced.
local before = remembered()
if before then return before end
local home = key('u:' .. A.by.uid)
local epoch = redis.call('HGET', home, 'tv')
if not epoch or not session_lives(A.by.uid, A.by.sid, epoch) then return outcome('gone') end
if A.by.role == '' or not actor_holds() then return outcome('actor_changed') end
if A.proof then
  local reason = rejected_proof(A.by.uid, A.proof)
  if reason then return reject_proof(A.by.uid, A.proof, reason) end
elseif has_factor(A.by.uid) then
  return outcome('factor_required')
end

local n = publish('user', A.by.uid, epoch, home, true)
if A.proof then use_proof(A.by.uid, A.proof) end
raise_session(A.by.uid, A.by.sid, A.proofs)
local counter = redis.call('HGET', key('s:' .. A.by.sid), 'c')
if A.rotate then
  counter = redis.call('HINCRBY', key('s:' .. A.by.sid), 'c', 1)
  redis.call('HSET', key('s:' .. A.by.sid), 'ct', int(NOW))
end
local methods = {}
for _, proof in ipairs(A.proofs) do methods[#methods + 1] = proof[1] end
audit('session.stepped_up', A.by.uid, nil, { session = A.by.sid, methods = methods })
return remember({ o = 'raised', r = record(A.by.uid), n = n, c = int(tonumber(counter)),
  ends = redis.call('ZSCORE', key('us:' .. A.by.uid), A.by.sid) })
