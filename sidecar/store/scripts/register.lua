-- standalone
-- KEYS: sidecars of the partition, its feed, its copy of the meta record. ARGV: id, lease in ms, what the sidecar says of
-- itself (JSON), the last feed entry it knows or ''. A registration outlives the copies it permits by 200 ms; one that
-- ended an hour ago is forgotten. The answer is the proof of R46: data set, count, the count of the known entry, the
-- feed's oldest and newest entries, the meta record.
local side, feed, meta = KEYS[1], KEYS[2], KEYS[3]
local id, lease, told, known = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
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
  redis.call('HSET', side .. ':told', id, told)
else
  redis.call('ZREM', side, id)
  redis.call('HDEL', side .. ':applied', id)
  redis.call('HDEL', side .. ':lease', id)
  redis.call('HDEL', side .. ':told', id)
end

local function count_of(entry)
  local fields = entry and entry[2] or {}
  for i = 1, #fields, 2 do
    if fields[i] == 'n' then return fields[i + 1] end
  end
  return ''
end
local mine = known ~= '' and redis.call('XRANGE', feed, known, known)[1] or nil
return cjson.encode({ o = 'registered', gen = redis.call('GET', feed .. ':gen') or '',
  n = redis.call('GET', feed .. ':n') or '', mine = count_of(mine),
  first = count_of(redis.call('XRANGE', feed, '-', '+', 'COUNT', 1)[1]),
  last = count_of(redis.call('XREVRANGE', feed, '+', '-', 'COUNT', 1)[1]),
  meta = redis.call('HGETALL', meta) })
