-- The same password under stronger parameters: no new epoch, nothing that a sidecar would have to know.
local home = key('u:' .. A.uid)
if redis.call('HGET', home, 'tv') ~= A.epoch then return outcome('stale') end
redis.call('HSET', home, 'pw', A.pw)
return outcome('rehashed')
