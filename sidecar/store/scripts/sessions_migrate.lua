-- Schema 3: sessions without proofs began by a password. A.uids: their users. No event, because no sidecar serves the
-- partition meanwhile.
local sessions = 0
for _, uid in ipairs(A.uids) do
  for _, sid in ipairs(redis.call('ZRANGE', key('us:' .. uid), 0, -1)) do
    local held = redis.call('HMGET', key('s:' .. sid), 'created', 'at')
    if held[1] and not held[2] then
      redis.call('HSET', key('s:' .. sid), 'at', held[1], 'by', 'password::' .. held[1])
      sessions = sessions + 1
    end
  end
end
return answer({ o = 'migrated', sessions = int(sessions) })
