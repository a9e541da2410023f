-- include: factors
-- Remove a factor and its proofs in every session. With the last one go the recovery codes, and their proofs.
local before = remembered()
if before then return before end
if not actor_holds() then return outcome('actor_changed') end
local factors, home = factors_of(A.uid), key('u:' .. A.uid)
if not factors[A.id] then return already({ o = 'gone' }) end
local name, last = redis.call('HGET', key('f:' .. A.id), 'name') or '', count_factors(factors) == 1

local n = publish('user', A.uid, redis.call('HGET', home, 'tv'), home, true, { factors = true })
drop_factor(A.uid, string.match(A.id, '^%a+'), A.id)
if last then
  drop_factor(A.uid, 'recovery-code', '')
  drop_factors(A.uid)
else
  redis.call('HDEL', key('factors:' .. A.uid), A.id)
  redis.call('DEL', key('f:' .. A.id))
end
audit('factor.removed', A.uid, { factor = A.id, name = name }, { factors = count_factors(factors) - 1 })
return remember({ o = 'removed', r = record(A.uid), n = n, name = name })
