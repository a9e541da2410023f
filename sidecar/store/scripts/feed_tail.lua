-- standalone
-- Read only. KEYS: feed, the partition's copy of the meta record (may be left out). ARGV: the entry known last or '', its
-- data set or ''. Where the feed ends, and what proves it to be the known one (proof.py): a data set that went back and
-- moved on again has another entry under the known id, or none. `lost`: lost changes are being recovered; `recovered`:
-- the recoveries that led to another data set (R48).
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
