-- include: factors
-- R10: link a subject of an external issuer to a user of this account, once: by an e-mail that the issuer has verified,
-- or by A.uid, which an operator names. A user has at most one subject per issuer, so that a reassigned e-mail does not
-- give access to its previous owner's account.
-- The e-mail of a user may be unverified here, because another person may have used the invitation's link and chosen
-- the password. Then password, second factors and sessions are removed, and the e-mail counts as verified (R9).
-- `tvt` is unchanged: tokens issued so far stay valid, among them the token that links.
local before = remembered()
if before then return before end
local held = redis.call('HGET', key('links'), A.link)
if held and redis.call('EXISTS', key('u:' .. held)) == 1 then
  return answer({ o = (A.uid and A.uid ~= held) and 'held' or 'linked', u = held })
end
if held and string.sub(held, 1, 1) == '-' and not A.uid then return outcome('barred') end -- by an operator
local uid = A.uid or redis.call('HGET', key('em'), A.email)
local home = uid and key('u:' .. uid)
local now = uid and redis.call('HMGET', home, 'st', 'hold')
if not uid or now[1] ~= 'active' or now[2] or redis.call('HGET', ACCT, 'st') ~= 'active' then
  return outcome('no_user')
end
-- The folded e-mail may be another mailbox than the typed one, whose owner is not this user.
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
  drop_factors(uid)
end
redis.call('HSET', key('links'), A.link, uid)
audit('user.linked', uid, { epoch = was[1], email_verified = proven },
  { issuer = A.issuer, subject = A.subject, epoch = epoch, email_verified = true, password_taken = not proven,
    sessions_ended = #ended })
return remember({ o = 'linked', u = uid, n = n, cleared = proven and '0' or '1' })
