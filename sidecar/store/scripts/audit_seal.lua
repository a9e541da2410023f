-- standalone
-- Seal rows that an exporter has written durably, and trim sealed rows (R32). Rows are trimmed only at a seam, whose
-- hash is kept, so that the remaining rows can be verified. KEYS: a log, the partition's set of logs with unexported
-- rows. ARGV: number and hash sealed so far ('0', '' at first), number and hash to seal, rows to keep.
local LOG, OPEN = KEYS[1], KEYS[2]
local seal = LOG .. ':seal'
local was = redis.call('HMGET', seal, 'n', 'hash')
if (was[1] or '0') ~= ARGV[1] or (was[2] or '') ~= ARGV[2] then
  return cjson.encode({ o = 'moved', n = was[1] or '0', hash = was[2] or '' })
end
redis.call('ZADD', LOG .. ':seams', ARGV[3], ARGV[3] .. ' ' .. ARGV[4])
redis.call('HSET', seal, 'n', ARGV[3], 'hash', ARGV[4])

local most = tonumber(ARGV[3]) - tonumber(ARGV[5])
local seam = redis.call('ZREVRANGEBYSCORE', LOG .. ':seams', string.format('%.0f', most), '-inf', 'LIMIT', 0, 1)[1]
if seam then
  local number, hash = string.match(seam, '^(%d+) (%S+)$')
  redis.call('XTRIM', LOG, 'MINID', string.format('%.0f', tonumber(number) + 1) .. '-0')
  redis.call('HSET', seal, 'anchor_n', number, 'anchor', hash)
  redis.call('ZREMRANGEBYSCORE', LOG .. ':seams', '-inf', number)
end
local last = redis.call('XREVRANGE', LOG, '+', '-', 'COUNT', 1)[1]
if not last or last[1] == ARGV[3] .. '-0' then redis.call('SREM', OPEN, LOG) end
return cjson.encode({ o = 'sealed' })
