-- standalone
-- Read only. KEYS[1]: sidecars of the partition. Returns the live ones, with reported state and last applied change.
local side = KEYS[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local all = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', side, '(' .. string.format('%.0f', now), '+inf')) do
  all[#all + 1] = { id, redis.call('HGET', side .. ':told', id) or '{}', redis.call('HGET', side .. ':applied', id) or '0' }
end
return cjson.encode({ o = 'fleet', all = all })
