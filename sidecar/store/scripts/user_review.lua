-- R48: end the review hold of a user whose acknowledged change was lost, and set the decided role and status. An
-- invited user stays invited. Fails if the account would have no administrator and no other held member.
local before = remembered()
if before then return before end
if not actor_holds() then return outcome('actor_changed') end
local was = record(A.uid)
if not was then return outcome('no_user') end
if A.expected_role ~= '' and was.role ~= A.expected_role then return outcome('actor_changed') end
if not was.hold then return outcome('not_held') end
local waiting = was.st == 'invited' or was.st == 'expired'
if waiting and A.status == 'suspended' then return outcome('still_invited') end

local administers = not waiting and A.role == ADMIN and A.status == 'active'
if not administers and leaves_no_admin(A.uid) then return outcome('last_admin') end

local home = key((waiting and 'i:' or 'u:') .. A.uid)
local n = publish('user', A.uid, was.tv, home, true, { role = A.role, status = waiting and 'invited' or A.status })
redis.call('HSET', home, 'role', A.role, 'changed', int(NOW))
if waiting and A.role ~= was.role then redis.call('HDEL', home, 'th') end -- R11: its link was made for another role
if not waiting then
  redis.call('HSET', home, 'st', A.status)
  if A.status == 'suspended' then redis.call('HSET', home, 'tvt', int(NOW)) end
end
redis.call('HDEL', home, 'hold') -- after role and status, so that a failed review can be repeated (R51)
if not waiting then settle_admin(A.uid, A.role, A.status) end
local lost = cjson.decode(was.hold)
audit('user.reviewed', A.uid, { role = was.role, status = was.st, role_before = lost.role, status_before = lost.status },
  { role = A.role, status = waiting and 'invited' or A.status })
return remember({ o = 'changed', r = record(A.uid), n = n })
