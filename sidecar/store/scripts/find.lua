-- Read only: the user of the account with this e-mail: a member or a live invitation. A.expired: include expired
-- invitations.
local uid = redis.call('HGET', key('em'), A.email)
if uid and (redis.call('SISMEMBER', key('members'), uid) == 1 or invited(uid) or (A.expired and expired(uid))) then
  return answer({ o = 'found', u = uid })
end
return outcome('no_user')
