-- standalone, include: generations
-- Read only: the active generation, the candidate, and the state of each sidecar that it waits for. KEYS: generations,
-- log, feed, sidecars. ARGV[1]: without (ids).
local candidate, without = hash(SEEN .. ':candidate'), {}
for _, id in ipairs(A.without) do without[id] = true end
local found = candidate.id and readiness(candidate, without) or {}
local current = candidate.id and tonumber(candidate['until']) > NOW
return cjson.encode({ o = 'found', active = redis.call('HGETALL', SEEN .. ':active'), n = redis.call('GET', FEED .. ':n') or '0',
  candidate = current and redis.call('HGETALL', SEEN .. ':candidate') or {}, sidecars = current and found or {},
  history = redis.call('XLEN', SEEN .. ':history') })
