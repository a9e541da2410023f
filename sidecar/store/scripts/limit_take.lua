-- standalone
-- Take one unit. KEYS[1]: a bucket. ARGV: milliseconds per unit, units per bucket.
-- GCRA: the bucket is one number, the time at which it will be full. Denied units are not counted: waiting helps.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local unit, most = tonumber(ARGV[1]), tonumber(ARGV[1]) * tonumber(ARGV[2])
local held = tonumber(redis.call('GET', KEYS[1]) or '0')
if held > now + most then -- R52: from a clock that ran ahead. Set it once, so that it passes.
  held = now + most
  redis.call('SET', KEYS[1], string.format('%.0f', held), 'PX', string.format('%.0f', most))
end
local full = math.max(held, now) + unit
local over = full - now - most
if over > 0 then return cjson.encode({ o = 'empty', wait = string.format('%.0f', over) }) end
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', string.format('%.0f', full - now))
return cjson.encode({ o = 'taken' })
