-- standalone
-- Register a sidecar. KEYS: sidecars of the partition, its feed, its copy of the meta record. ARGV: id, lease in ms (0:
-- unregister), reported state (JSON), last known feed entry or '', its data set or ''.
-- A registration outlives its copies by 200 ms, and is deleted one hour after its end. Where the server permits it,
-- registrations are neither logged nor replicated: after a restart or fail-over every sidecar registers again, and R31
-- waits for it. A rejected write does not affect the proof.
-- Returns the proof of R46: data set, count, the number of the known entry, those of the feed's oldest and newest
-- entries, and the meta record. `lost`, `recovered`: as in feed_tail.lua.
local side, feed, meta = KEYS[1], KEYS[2], KEYS[3]
local id, lease, told, known = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function int(number) return string.format('%.0f', number) end
local refused = ''
local function write(...)
  local reply = refused == '' and redis.pcall(...)
  if type(reply) == 'table' and reply.err then refused = reply.err end
end
local function keep(field, value)
  if redis.call('HGET', side .. field, id) ~= value then write('HSET', side .. field, id, value) end
end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', side, '-inf', int(now - 3600000))) do
  write('ZREM', side, gone)
  for _, field in ipairs({ ':applied', ':lease', ':told' }) do write('HDEL', side .. field, gone) end
end
-- R52: a registration that ends later than a lease permits is from a clock that ran ahead. Set its end by its lease.
for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', side, '(' .. int(now + 60000), '+inf')) do
  write('ZADD', side, int(now + tonumber(redis.call('HGET', side .. ':lease', ahead) or '0') + 200), ahead)
end
if lease > 0 then
  keep(':lease', int(lease))
  keep(':told', told)
  if redis.set_repl then redis.set_repl(redis.REPL_NONE) end
  write('ZADD', side, int(now + lease + 200), id)
  if redis.set_repl then redis.set_repl(redis.REPL_ALL) end
else
  write('ZREM', side, id)
  for _, field in ipairs({ ':applied', ':lease', ':told' }) do write('HDEL', side .. field, id) end
end

local function count_of(entry)
  local fields = entry and entry[2] or {}
  for i = 1, #fields, 2 do
    if fields[i] == 'n' then return fields[i + 1] end
  end
  return ''
end
local mine = known ~= '' and redis.call('XRANGE', feed, known, known)[1] or nil
local gen = redis.call('GET', feed .. ':gen') or ''
local lost = string.gsub(feed, ':feed$', ':lost')
return cjson.encode({ o = 'registered', refused = refused, gen = gen, lost = redis.call('EXISTS', lost .. ':meta'),
  recovered = ARGV[5] ~= '' and ARGV[5] ~= gen and redis.call('HVALS', lost .. ':recovered') or {},
  n = redis.call('GET', feed .. ':n') or '', mine = count_of(mine),
  first = count_of(redis.call('XRANGE', feed, '-', '+', 'COUNT', 1)[1]),
  last = count_of(redis.call('XREVRANGE', feed, '+', '-', 'COUNT', 1)[1]),
  meta = redis.call('HGETALL', meta) })
