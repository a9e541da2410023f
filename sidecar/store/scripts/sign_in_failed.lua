-- Count failed sign-ins, and audit the minutes that are over: one row per user and minute, at most MOST an hour. One more
-- row counts the rest of the hour. A.failures: { user, count, addresses }. Replies with the ms until the next row is due.
local before = remembered()
if before then return before end
local MOST, ADDRESSES, MINUTE, HOUR, KEPT = 60, 5, 60000, 3600000, 7200000
local open, hours = key('fails'), key('fails:h')
local minute, hour = int(math.floor(NOW / MINUTE)), int(math.floor(NOW / HOUR))

local function add(uid, count, addresses)
  local field = minute .. ' ' .. uid
  local held = redis.call('HGET', open, field)
  local sum = held and cjson.decode(held) or { count = 0, addresses = {} }
  sum.count = sum.count + count
  local known = {}
  for _, address in ipairs(sum.addresses) do known[address] = true end
  for _, address in ipairs(addresses) do
    if not known[address] and #sum.addresses < ADDRESSES then
      known[address] = true
      sum.addresses[#sum.addresses + 1] = address
    end
  end
  redis.call('HSET', open, field, cjson.encode(sum))
end

-- Write the row for the rest of the counted hour, when that hour is over.
local function close_hour(current)
  local now = redis.call('HMGET', hours, 'hour', 'rest')
  if not now[1] or now[1] == current then return end
  if tonumber(now[2] or '0') > 0 then
    audit('sign_in.failed', A.acct, nil, { count = tonumber(now[2]), hour = int(tonumber(now[1]) * HOUR) }, '', 'sign-in')
  end
  redis.call('DEL', hours)
end

local function settle(field)
  local at, uid = string.match(field, '^(%d+) (.+)$')
  local sum = cjson.decode(redis.call('HGET', open, field))
  local its_hour = int(math.floor(tonumber(at) * MINUTE / HOUR))
  close_hour(its_hour)
  redis.call('HSET', hours, 'hour', its_hour)
  if tonumber(redis.call('HGET', hours, 'rows') or '0') < MOST then
    audit('sign_in.failed', uid, nil, { count = sum.count, addresses = sum.addresses, minute = int(tonumber(at) * MINUTE) },
      '', sum.addresses[1] or 'sign-in')
    redis.call('HINCRBY', hours, 'rows', 1)
  else
    redis.call('HINCRBY', hours, 'rest', sum.count)
  end
  redis.call('HDEL', open, field)
end

if account_lives() then
  for _, failure in ipairs(A.failures) do
    if record(failure[1]) then add(failure[1], failure[2], failure[3]) end
  end
  local over, waits = {}, false
  for _, field in ipairs(redis.call('HKEYS', open)) do
    if string.match(field, '^%d+') == minute then waits = true else over[#over + 1] = field end
  end
  table.sort(over)
  for _, field in ipairs(over) do settle(field) end
  close_hour(hour)
  redis.call('PEXPIRE', open, KEPT)
  redis.call('PEXPIRE', hours, KEPT)
  if waits then return remember({ o = 'counted', due = int(MINUTE - NOW % MINUTE) }) end
  if redis.call('HEXISTS', hours, 'rest') == 1 then return remember({ o = 'counted', due = int(HOUR - NOW % HOUR) }) end
end
return remember({ o = 'counted', due = '0' })
