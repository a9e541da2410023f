-- Read only: who has this e-mail in the account? A member, or an invitation that still holds it; with A.expired also one
-- that has expired.
local uid = redis.call('HGET', key('em'), A.email)
if uid and (redis.call('SISMEMBER', key('members'), uid) == 1 or invited(uid) or (A.expired and expired(uid))) then
  return answer({ o = 'found', u = uid })
end
return outcome('no_user')
