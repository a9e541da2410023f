-- standalone, include: generations
-- Remove a candidate that was not activated. KEYS: generations, log. ARGV[1]: attempt.
local home = SEEN .. ':candidate'
local its = redis.call('HMGET', home, 'id', 'attempt')
if its[2] ~= A.attempt then return cjson.encode({ o = 'another' }) end
drop_files(its[1])
redis.call('DEL', home, SEEN .. ':marks', SEEN .. ':shadow')
return cjson.encode({ o = 'withdrawn' })
