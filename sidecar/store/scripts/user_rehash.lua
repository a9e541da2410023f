-- Store a hash of the same password with stronger parameters: no new epoch and no event.
local home = key('u:' .. A.uid)
if redis.call('HGET', home, 'tv') ~= A.epoch then return outcome('stale') end
redis.call('HSET', home, 'pw', A.pw)
return outcome('rehashed')
