-- standalone, include: generations
-- Store a candidate, which every live sidecar then compiles. It replaces an earlier candidate. KEYS: generations, log,
-- feed, sidecars. ARGV[1]: id, digest, attempt, counter, signature, by, note, code, ttl, shadow (ms). ARGV[2...]: its files.
local before = remembered()
if before then return before end
local home = SEEN .. ':candidate'
local earlier = redis.call('HGET', home, 'id')
-- A registration lost in a fail-over has no end, so it would never be deleted: it ends now.
for _, id in ipairs(redis.call('HKEYS', SIDE .. ':told')) do
  if not redis.call('ZSCORE', SIDE, id) then redis.call('ZADD', SIDE, int(NOW), id) end
end
redis.call('DEL', home, SEEN .. ':marks', SEEN .. ':shadow')
if earlier and earlier ~= A.id then drop_files(earlier) end
keep_files(A.id)
redis.call('HSET', home, 'id', A.id, 'digest', A.digest, 'attempt', A.attempt, 'counter', A.counter,
  'signature', A.signature, 'by', A.by, 'note', A.note, 'code', A.code, 'until', int(NOW + tonumber(A.ttl)),
  'shadow', tonumber(A.shadow) > 0 and int(NOW + tonumber(A.shadow)) or '0')
local n = int(redis.call('INCR', FEED .. ':n'))
add_numbered(FEED .. ':n', n, FEED, 'MAXLEN', '~', 10000, '*', 'n', n, 'k', 'candidate', 'a', '', 'u', '', 'tv', '0',
  's', '0', 'ack', '0', 'r', '', 'st', '', 'pw', '0')
return remember({ o = 'stored' })
