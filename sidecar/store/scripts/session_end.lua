-- End the named sessions, or all but A.keep. The event has an ack: it reaches every sidecar as an epoch does (R15).
local before = remembered()
if before then return before end
local home = key('u:' .. A.uid)
if redis.call('EXISTS', home) == 0 then return already({ o = 'gone' }) end
if not actor_holds() then return outcome('actor_changed') end
local ended = {}
for _, sid in ipairs(A.keep and redis.call('ZRANGE', key('us:' .. A.uid), 0, -1) or A.sids) do
  if sid ~= A.keep and redis.call('ZSCORE', key('us:' .. A.uid), sid) then ended[#ended + 1] = sid end
end
if #ended == 0 then return already({ o = 'gone' }) end

local n = publish('user', A.uid, redis.call('HGET', home, 'tv'), home, true)
for _, sid in ipairs(ended) do end_session(A.uid, sid) end
audit('session.ended', A.uid, { sessions = ended }, nil)
return remember({ o = 'ended', r = record(A.uid), sids = ended, n = n })
