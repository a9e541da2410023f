-- R10: a subject of an outside issuer becomes this account's user, once. One subject of an issuer for a user: an e-mail
-- that goes to somebody else over there does not hand its old owner's place to them.
local before = remembered()
if before then return before end
local held = redis.call('HGET', key('links'), A.link)
if held and redis.call('EXISTS', key('u:' .. held)) == 1 then return answer({ o = 'linked', u = held }) end
if held and string.sub(held, 1, 1) == '-' then return outcome('barred') end -- an operator has parted them
local uid = redis.call('HGET', key('em'), A.email)
if not uid or redis.call('HGET', key('u:' .. uid), 'st') ~= 'active' or redis.call('HGET', ACCT, 'st') ~= 'active' then
  return outcome('no_user')
end
-- The folded e-mail may be another mailbox than the one that was written here: its owner is not this user.
local mailbox = redis.call('HGET', key('u:' .. uid), 'mb')
if mailbox and string.lower(mailbox) ~= A.email then return outcome('no_user') end
local flat = redis.call('HGETALL', key('links'))
for i = 1, #flat, 2 do
  if flat[i + 1] == uid and string.sub(flat[i], 1, #A.family) == A.family then return outcome('taken') end
end

redis.call('HSET', key('links'), A.link, uid)
audit('user.linked', uid, nil, { issuer = A.issuer, subject = A.subject })
return remember({ o = 'linked', u = uid })
