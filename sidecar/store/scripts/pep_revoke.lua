-- Revoke a PEP key. The event has an ack, so that the caller can wait until every sidecar rejects the key.
local before = remembered()
if before then return before end
if not actor_holds() then return outcome('actor_changed') end
local was = pep(A.pep)
if not was then return outcome('no_pep') end

local n = publish('pep', A.pep, '0', nil, true, { status = 'revoked' })
redis.call('SADD', key('pepgone'), A.pep) -- for a restore, because a key has no epoch to raise
redis.call('SREM', key('peps'), A.pep)
redis.call('DEL', key('pep:' .. A.pep))
audit('pep.revoked', A.pep, { name = was.name, scopes = was.scopes }, nil)
return remember({ o = 'revoked', p = was, n = n })
