-- standalone
-- Read only. KEYS[1]: feed. ARGV[1]: the entry I know last, or ''. Where the feed stands, and whether that entry is still
-- in it under the number I know: a data set that went back and moved on again has another entry there, or none.
local feed = KEYS[1]
local last = redis.call('XREVRANGE', feed, '+', '-', 'COUNT', 1)
local answer = { o = 'tail', n = redis.call('GET', feed .. ':n') or '0', gen = redis.call('GET', feed .. ':gen') or '',
  id = last[1] and last[1][1] or '0-0', mine = '' }
if ARGV[1] ~= '' then
  local found = redis.call('XRANGE', feed, ARGV[1], ARGV[1])
  local fields = found[1] and found[1][2] or {}
  for i = 1, #fields, 2 do
    if fields[i] == 'n' then answer.mine = fields[i + 1] end
  end
end
return cjson.encode(answer)
