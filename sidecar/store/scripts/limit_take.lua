-- standalone
-- Take one unit. KEYS[1]: a bucket. ARGV: milliseconds per unit, units per bucket.
-- GCRA: the bucket is one number, the time at which it will be full. Denied units are not counted: waiting helps.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- R52: a time later than an empty bucket needs to fill is from a clock that ran ahead.
local unit, most = tonumber(ARGV[1]), tonumber(ARGV[1]) * tonumber(ARGV[2])
local full = math.min(math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now), now + most) + unit
local over = full - now - most
if over > 0 then return cjson.encode({ o = 'empty', wait = string.format('%.0f', over) }) end
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', string.format('%.0f', full - now))
return cjson.encode({ o = 'taken' })
