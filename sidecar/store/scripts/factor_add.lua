-- include: factors
-- Keep a factor that is not confirmed, for a short time. It proves nothing and changes no record.
local before = remembered()
if before then return before end
if not actor_holds() then return outcome('actor_changed') end
if count_factors(factors_of(A.uid)) >= MAX_FACTORS then return outcome('too_many') end
redis.call('HSET', key('fp:' .. A.id), 'u', A.uid, 'sealed', A.sealed, 'created', int(NOW))
redis.call('PEXPIRE', key('fp:' .. A.id), int(A.ttl))
return remember({ o = 'added' })
