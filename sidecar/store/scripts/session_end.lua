-- End the sessions named, or all but the one kept. An event with ack: it reaches every sidecar as an epoch does (R15).
local before = remembered()
if before then return before end
local home = key('u:' .. A.uid)
if redis.call('EXISTS', home) == 0 then return already({ o = 'gone' }) end
if not actor_holds() then return outcome('actor_changed') end
local ended = {}
if A.keep then
  ended = end_sessions(A.uid, A.keep)
else
  for _, sid in ipairs(A.sids) do
    if redis.call('ZSCORE', key('us:' .. A.uid), sid) and end_session(A.uid, sid) then ended[#ended + 1] = sid end
  end
end
if #ended == 0 then return already({ o = 'gone' }) end

local seq = stamp(home)
audit('session.ended', A.uid, { sessions = ended }, nil)
local n = publish('user', A.uid, redis.call('HGET', home, 'tv'), seq, true)
return remember({ o = 'ended', r = record(A.uid), sids = ended, n = n })
