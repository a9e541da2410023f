-- include: factors
-- Let all factors of a user count for needs from now on (R37), because another person vouches for their owner.
local before = remembered()
if before then return before end
if not actor_holds() then return outcome('actor_changed') end
local home = key('u:' .. A.uid)
local now = redis.call('HMGET', home, 'role', 'tv')
if not now[1] then return outcome('no_user') end
if A.expected_role and now[1] ~= A.expected_role then return outcome('actor_changed') end
local waiting = {}
for id, counts in pairs(factors_of(A.uid)) do
  if tonumber(counts) > NOW then waiting[#waiting + 1] = id end
end
if #waiting == 0 then return already({ o = 'unchanged', r = record(A.uid) }) end

table.sort(waiting)
local n = publish('user', A.uid, now[2], home, true)
for _, id in ipairs(waiting) do redis.call('HSET', key('factors:' .. A.uid), id, int(NOW)) end
audit('factor.confirmed', A.uid, nil, { factors = waiting })
return remember({ o = 'changed', r = record(A.uid), n = n })
