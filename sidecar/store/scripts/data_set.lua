-- standalone
-- Give the partition another data set. KEYS: feed, the partition's copy of the meta record. ARGV[1]: JSON with before,
-- after, meta_before, meta_after, code and meta (a flat list). A repeated call finds its own data set.
local feed, home, A = KEYS[1], KEYS[2], cjson.decode(ARGV[1])
local now = redis.call('GET', feed .. ':gen') or ''
if now == A.after then return cjson.encode({ o = 'replaced', n = redis.call('GET', feed .. ':n') or '0' }) end
if now ~= A.before then return cjson.encode({ o = 'other_data_set' }) end
local n = string.format('%.0f', redis.call('INCR', feed .. ':n'))
local added = redis.pcall('XADD', feed, 'MAXLEN', '~', 10000, '*', 'n', n, 'k', 'data_set', 'a', A.before, 'u', A.after, 'tv', '0', 's', '0',
  'ack', '1', 'mb', A.meta_before, 'ma', A.meta_after, 'code', A.code)
if type(added) == 'table' and added.err then -- restore the counter: the numbers have no gaps (R51)
  redis.pcall('SET', feed .. ':n', string.format('%.0f', tonumber(n) - 1))
  error(added.err)
end
for i = 1, #A.meta, 2 do redis.call('HSET', home, A.meta[i], A.meta[i + 1]) end
redis.call('SET', feed .. ':gen', A.after)
return cjson.encode({ o = 'replaced', n = n })
