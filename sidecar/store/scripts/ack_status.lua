-- standalone
-- Read only. KEYS[1]: sidecars of the partition. KEYS[2]: its feed. ARGV[1]: number of the change. Returns the number of
-- live sidecars, the number of those that have not applied the change, the longest recently registered lease (live or
-- not), and the number of the feed's last change: the registrations of an emptied or older store prove nothing.
local side, n = KEYS[1], tonumber(ARGV[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local live, missing, longest = 0, 0, 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', side, '(' .. string.format('%.0f', now), '+inf')) do
  live = live + 1
  if tonumber(redis.call('HGET', side .. ':applied', id) or '0') < n then missing = missing + 1 end
end
for _, lease in ipairs(redis.call('HVALS', side .. ':lease')) do longest = math.max(longest, tonumber(lease)) end
local last = tonumber(redis.call('GET', KEYS[2] .. ':n') or '0')
return cjson.encode({ o = 'status', live = live, missing = missing, longest = longest, n = last })
