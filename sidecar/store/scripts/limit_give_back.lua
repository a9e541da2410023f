-- standalone
-- Restore a reserved unit that was not used. KEYS[1]: a bucket; a full one has no key. ARGV: milliseconds per unit.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local full = tonumber(redis.call('GET', KEYS[1]) or '0') - tonumber(ARGV[1])
if full > now then
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', string.format('%.0f', full - now))
else
  redis.call('DEL', KEYS[1])
end
return cjson.encode({ o = 'given_back' })
