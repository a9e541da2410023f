-- R10: a subject of an outside issuer becomes this account's user, once: by an e-mail that the issuer has verified, or by
-- A.uid, an operator's word. One subject of an issuer for a user: an e-mail that goes to somebody else over there does not
-- hand its old owner's place to them.
-- The e-mail of a user may never have been proven here: an accepted invitation's link may have been another's. Whoever
-- chose the password then is not the one who comes now, so password and sessions go, and the e-mail counts as proven (R9).
-- `tvt` stays: what the issuer has issued so far holds, the token that links among it.
local before = remembered()
if before then return before end
local held = redis.call('HGET', key('links'), A.link)
if held and redis.call('EXISTS', key('u:' .. held)) == 1 then
  return answer({ o = (A.uid and A.uid ~= held) and 'held' or 'linked', u = held })
end
if held and string.sub(held, 1, 1) == '-' and not A.uid then return outcome('barred') end -- an operator has parted them
local uid = A.uid or redis.call('HGET', key('em'), A.email)
local home = uid and key('u:' .. uid)
local now = uid and redis.call('HMGET', home, 'st', 'hold')
if not uid or now[1] ~= 'active' or now[2] or redis.call('HGET', ACCT, 'st') ~= 'active' then
  return outcome('no_user')
end
-- The folded e-mail may be another mailbox than the one that was written here: its owner is not this user.
local mailbox = redis.call('HGET', home, 'mb')
if mailbox and not A.uid and string.lower(mailbox) ~= A.email then return outcome('no_user') end
local flat = redis.call('HGETALL', key('links'))
for i = 1, #flat, 2 do
  if flat[i + 1] == uid and string.sub(flat[i], 1, #A.family) == A.family then return outcome('taken') end
end

local was = redis.call('HMGET', home, 'tv', 'ev')
local epoch, proven, ended = was[1], was[2] == '1', {}
if not proven then epoch = int(tonumber(epoch) + 1) end
local n = publish('user', uid, epoch, home, not proven or A.uid ~= nil)
if not proven then
  redis.call('HSET', home, 'tv', epoch, 'pwtv', epoch, 'pw', '', 'ev', '1', 'changed', int(NOW))
  ended = end_sessions(uid)
end
redis.call('HSET', key('links'), A.link, uid)
audit('user.linked', uid, { epoch = was[1], email_verified = proven },
  { issuer = A.issuer, subject = A.subject, epoch = epoch, email_verified = true, password_taken = not proven,
    sessions_ended = #ended })
return remember({ o = 'linked', u = uid, n = n, cleared = proven and '0' or '1' })
