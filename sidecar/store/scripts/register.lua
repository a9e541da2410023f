-- standalone
-- KEYS[1]: sidecars of the partition. ARGV: id, lease in ms, what the sidecar says of itself (JSON). A registration
-- outlives the copy it permits by 200 ms; one that ended an hour ago is forgotten.
local side, id, lease = KEYS[1], ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function int(number) return string.format('%.0f', number) end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', side, '-inf', int(now - 3600000))) do
  redis.call('ZREM', side, gone)
  redis.call('HDEL', side .. ':applied', gone)
  redis.call('HDEL', side .. ':lease', gone)
  redis.call('HDEL', side .. ':told', gone)
end
if lease > 0 then
  redis.call('ZADD', side, int(now + lease + 200), id)
  redis.call('HSET', side .. ':lease', id, int(lease))
  redis.call('HSET', side .. ':told', id, ARGV[3])
else
  redis.call('ZREM', side, id)
  redis.call('HDEL', side .. ':applied', id)
  redis.call('HDEL', side .. ':lease', id)
  redis.call('HDEL', side .. ':told', id)
end
return cjson.encode({ o = 'registered' })
