-- Change role, name and status of a member, or role and name of an invited user, expired or not. All or nothing.
local before = remembered()
if before then return before end
if not actor_holds() then return outcome('actor_changed') end
local was = record(A.uid)
if not was then return outcome('no_user') end
if A.expected_role ~= '' and was.role ~= A.expected_role then return outcome('actor_changed') end
local waiting = was.st == 'invited' or was.st == 'expired'
if waiting and A.status then return outcome('still_invited') end

local role, name, status = A.role or was.role, A.name or was.name, A.status or was.st
if role == was.role and name == was.name and status == was.st then return already({ o = 'unchanged', r = was }) end
if (role ~= ADMIN or status ~= 'active') and is_last_admin(A.uid) then return outcome('last_admin') end

local home = key((waiting and 'i:' or 'u:') .. A.uid)
local administers = role == ADMIN and status == 'active'
local n = publish('user', A.uid, was.tv, home, role ~= was.role or status ~= was.st, 
  not was.hold and { role = role, status = status } or nil)
local set = { 'role', role, 'name', name, 'changed', int(NOW) }
if not waiting then
  set[#set + 1], set[#set + 2] = 'st', status
  if status == 'suspended' and was.st ~= 'suspended' then
    end_sessions(A.uid)
    set[#set + 1], set[#set + 2] = 'tvt', int(NOW) -- revokes external tokens, which have no session to end
  end
  if not administers then settle_admin(A.uid, role, status) end
end
redis.call('HSET', home, unpack(set))
if waiting and A.voids_link then redis.call('HDEL', home, 'th') end
-- R51: after the record, so that a failed script never leaves an administrator only in the index.
if administers and not waiting then settle_admin(A.uid, role, status) end
audit('user.changed', A.uid, { role = was.role, name = was.name, status = was.st },
  { role = role, name = name, status = status })
return remember({ o = 'changed', r = record(A.uid), n = n })
