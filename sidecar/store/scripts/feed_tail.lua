-- standalone
-- Read only: end of the feed, and the proof that it is the known feed (proof.py). A data set that was reverted and then
-- continued has another entry under the known id, or none. KEYS: feed, the partition's copy of the meta record (may be
-- omitted). ARGV: last known entry or '', its data set or ''. `lost`: 1 while lost changes are being recovered.
-- `recovered`: recoveries that led to another data set (R48).
local feed = KEYS[1]
local function count_of(entry)
  local fields = entry and entry[2] or {}
  for i = 1, #fields, 2 do
    if fields[i] == 'n' then return fields[i + 1] end
  end
  return ''
end
local last = redis.call('XREVRANGE', feed, '+', '-', 'COUNT', 1)[1]
local mine = ARGV[1] ~= '' and redis.call('XRANGE', feed, ARGV[1], ARGV[1])[1] or nil
local gen = redis.call('GET', feed .. ':gen') or ''
local lost = string.gsub(feed, ':feed$', ':lost')
return cjson.encode({ o = 'tail', gen = gen, lost = redis.call('EXISTS', lost .. ':meta'),
  recovered = (ARGV[2] or '') ~= '' and ARGV[2] ~= gen and redis.call('HVALS', lost .. ':recovered') or {}, n = redis.call('GET', feed .. ':n') or '',
  id = last and last[1] or '0-0', mine = count_of(mine), last = count_of(last),
  first = count_of(redis.call('XRANGE', feed, '-', '+', 'COUNT', 1)[1]),
  meta = KEYS[2] and redis.call('HGETALL', KEYS[2]) or {} })
