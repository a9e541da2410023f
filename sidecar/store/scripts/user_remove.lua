-- include: factors
-- Remove a member or an invited user, with seat, e-mail, sessions and invitation. The event is a tombstone.
local before = remembered()
if before then return before end
if not actor_holds() then return outcome('actor_changed') end
local was = record(A.uid)
if not was then return outcome('no_user') end
if A.expected_role ~= '' and was.role ~= A.expected_role then return outcome('actor_changed') end
local waiting = was.st == 'invited' or was.st == 'expired'
if is_last_admin(A.uid) or (was.hold and not waiting and leaves_no_admin(A.uid)) then return outcome('last_admin') end

-- R51: a tombstone is permanent. DEL first, so that a missing permission fails before it is published.
redis.call('DEL', key('none'))
local n = publish('removed', A.uid, was.tv, nil, true)
if waiting then
  drop_invitation(A.uid)
else
  end_sessions(A.uid)
  redis.call('SREM', key('members'), A.uid)
  redis.call('SREM', key('admins'), A.uid)
  if redis.call('HGET', key('em'), was.em) == A.uid then redis.call('HDEL', key('em'), was.em) end
  redis.call('DEL', key('u:' .. A.uid), key('us:' .. A.uid))
  drop_links(A.uid)
  drop_factors(A.uid)
end
audit(waiting and 'invitation.revoked' or 'user.removed', A.uid,
  { email = was.em, name = was.name, role = was.role, status = was.st }, nil)
return remember({ o = 'removed', r = was, n = n })
