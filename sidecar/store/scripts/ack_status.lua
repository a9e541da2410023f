-- standalone
-- Read only. KEYS[1]: sidecars of the partition. ARGV[1]: number of the change. Returns the number of live sidecars,
-- the number of those that have not applied the change, and the longest recently registered lease, live or not.
local side, n = KEYS[1], tonumber(ARGV[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local live, missing, longest = 0, 0, 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', side, '(' .. string.format('%.0f', now), '+inf')) do
  live = live + 1
  if tonumber(redis.call('HGET', side .. ':applied', id) or '0') < n then missing = missing + 1 end
end
for _, lease in ipairs(redis.call('HVALS', side .. ':lease')) do longest = math.max(longest, tonumber(lease)) end
return cjson.encode({ o = 'status', live = live, missing = missing, longest = longest })
