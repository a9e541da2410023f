-- standalone
-- Claim an account name. KEYS[1]: names. ARGV: folded name, account id. A claim is `id` once the account exists, and
-- `id ms` while it is being created. An unsettled claim expires after one minute, as does one of a clock that ran ahead
-- (R52). `was`: account of the expired claim. It may exist regardless, which only a read in its own slot shows.
local held, was = redis.call('HGET', KEYS[1], ARGV[1]), ''
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if held then
  local id, since = string.match(held, '^(%S+) (%d+)$')
  if not id then return cjson.encode({ o = 'taken', id = held }) end
  if id ~= ARGV[2] and math.abs(now - tonumber(since)) < 60000 then return cjson.encode({ o = 'taken', id = id }) end
  if id ~= ARGV[2] then was = id end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. string.format('%.0f', now))
return cjson.encode({ o = 'claimed', was = was })
