-- standalone
-- KEYS[1]: a bucket. ARGV: milliseconds that one unit takes to come back, units it holds.
-- GCRA: the bucket is one number, when it will be full again. A refused unit is not counted, so that waiting helps.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- R52: an instant further ahead than a bucket can ever be full is from a clock that ran ahead.
local unit, most = tonumber(ARGV[1]), tonumber(ARGV[1]) * tonumber(ARGV[2])
local full = math.min(math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now), now + most) + unit
local over = full - now - most
if over > 0 then return cjson.encode({ o = 'empty', wait = string.format('%.0f', over) }) end
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', string.format('%.0f', full - now))
return cjson.encode({ o = 'taken' })
