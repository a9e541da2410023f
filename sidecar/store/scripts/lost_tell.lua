-- standalone
-- R48: write the lost feed entries that a sidecar has kept. KEYS: lost. ARGV[1]: JSON with data_set (the sidecar's),
-- here (the store's data set at the comparison), base (number of the last entry in the store, '' if unknown), top
-- (highest number), lease in ms, marks (pairs of field and entry), after (id of the next data set).
-- Returns the milliseconds until every lease from before the loss has ended.
local lost, A = KEYS[1], cjson.decode(ARGV[1])
local meta, feed = lost .. ':meta', string.gsub(lost, ':lost$', ':feed')
local side = string.gsub(lost, ':lost$', ':side')
local function int(number) return string.format('%.0f', number) end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if (redis.call('GET', feed .. ':gen') or '') ~= A.here then return cjson.encode({ o = 'other_data_set' }) end
if #A.marks == 0 and redis.call('EXISTS', meta) == 0 then return cjson.encode({ o = 'nothing_told' }) end

for _, pair in ipairs(A.marks) do redis.call('HSETNX', lost, pair[1], pair[2]) end
redis.call('HSETNX', meta, 'since', int(now))
redis.call('HSETNX', meta, 'after', A.after)
redis.call('HSET', meta, 'set:' .. A.data_set, '1')
local base = redis.call('HGET', meta, 'base')
if A.base ~= '' and (not base or tonumber(A.base) < tonumber(base)) then redis.call('HSET', meta, 'base', A.base) end
local function most(field, number)
  if tonumber(number) > tonumber(redis.call('HGET', meta, field) or '0') then redis.call('HSET', meta, field, int(tonumber(number))) end
end
most('top', A.top)
most('lease', A.lease)
for _, lease in ipairs(redis.call('HVALS', side .. ':lease')) do most('lease', lease) end
local ends = tonumber(redis.call('HGET', meta, 'since')) + tonumber(redis.call('HGET', meta, 'lease')) + 200
return cjson.encode({ o = 'told', wait = int(math.max(0, ends - now)) })
