-- R41: add proofs to the actor's own session, and to no other one. The event has an ack: copies without the proofs would
-- deny what the proofs permit.
local before = remembered()
if before then return before end
local home = key('u:' .. A.by.uid)
local epoch = redis.call('HGET', home, 'tv')
if not epoch or not session_lives(A.by.uid, A.by.sid, epoch) then return outcome('gone') end
if A.by.role == '' or not actor_holds() then return outcome('actor_changed') end

local n = publish('user', A.by.uid, epoch, home, true)
raise_session(A.by.uid, A.by.sid, A.proofs)
local methods = {}
for _, proof in ipairs(A.proofs) do methods[#methods + 1] = proof[1] end
audit('session.stepped_up', A.by.uid, nil, { session = A.by.sid, methods = methods })
return remember({ o = 'raised', r = record(A.by.uid), n = n })
