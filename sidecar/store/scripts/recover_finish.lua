-- standalone
-- R48: finish a recovery after all users were processed. Sets another data set, continues the numbers above the lost
-- entries, and writes signed records, by which sidecars of the old data set follow. KEYS: feed, lost. ARGV[1]: JSON.
local feed, lost, A = KEYS[1], KEYS[2], cjson.decode(ARGV[1])
local gen = redis.call('GET', feed .. ':gen') or ''
if gen == A.after then return cjson.encode({ o = 'finished' }) end
if gen ~= A.before then return cjson.encode({ o = 'other_data_set' }) end
if #redis.call('HKEYS', lost) ~= A.marks or redis.call('HGET', lost .. ':meta', 'top') ~= A.top then
  return cjson.encode({ o = 'more_told' })
end
local function int(number) return string.format('%.0f', number) end
local last = int(tonumber(redis.call('GET', feed .. ':n') or '0'))
local n = int(math.max(tonumber(last), tonumber(A.top)) + 1)
redis.call('SET', feed .. ':n', n)
local added = redis.pcall('XADD', feed, 'MAXLEN', '~', 10000, '*', 'n', n, 'k', 'data_set', 'a', A.before, 'u', A.after,
  'tv', '0', 's', '0', 'ack', '1', 'mb', A.digest, 'ma', A.digest, 'code', A.code, 'p', last)
if type(added) == 'table' and added.err then
  redis.pcall('SET', feed .. ':n', last) -- a rejected entry restores the counter (R51)
  error(added.err)
end
for _, pair in ipairs(A.records) do redis.call('HSET', lost .. ':recovered', pair[1], pair[2]) end
redis.call('SET', feed .. ':gen', A.after)
redis.call('DEL', lost, lost .. ':meta')
return cjson.encode({ o = 'finished', n = n })
