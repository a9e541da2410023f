-- Compare and set on the epoch: one of several concurrent changes succeeds. Ends every session and opens A.session. It
-- inherits the proofs of the user's session that made the change. An actor without a session, whose token is an external
-- issuer's, has none to inherit: for a user with a second factor nothing changes (R36).
-- A.reset (R9): the link that the password was set with. A link that only the mail contained verifies the e-mail; one
-- that another person saw, who may have chosen the password, does the opposite. Without it the verification is unchanged.
local before = remembered()
if before then return before end
local home = key('u:' .. A.uid)
local now = redis.call('HMGET', home, 'tv', 'st', 'hold', 'role')
if not now[1] or now[2] ~= 'active' or now[3] then return outcome('no_user') end
if now[1] ~= A.epoch or (A.expected_role and now[4] ~= A.expected_role) then return answer({ o = 'stale', tv = now[1] }) end
if not actor_holds() then return outcome('actor_changed') end
local former = A.by.uid == A.uid and A.by.role ~= '' and A.by.sid ~= '' and facts_of(A.by.sid) or nil
if A.session and not A.reset and not former and has_factor(A.uid) then return outcome('actor_changed') end

local epoch = int(tonumber(now[1]) + 1)
local n = publish('user', A.uid, epoch, home, true, { password = true })
redis.call('HSET', home, 'pw', A.pw, 'tv', epoch, 'tvt', int(NOW), 'pwtv', epoch, 'changed', int(NOW))
local mailed = A.reset and A.reset.shown == false -- anything else verifies nothing
if A.reset then redis.call('HSET', home, 'ev', mailed and '1' or '0') end
end_sessions(A.uid)
-- R36: a link alone opens no session for a user with a second factor.
if A.session and not (A.reset and has_factor(A.uid)) then open_session(A.uid, epoch, A.session, former) end
local after = { epoch = epoch, email_verified = redis.call('HGET', home, 'ev') == '1', via = 'password' }
if A.reset then
  after.via = mailed and 'mailed_link' or 'shown_link'
  if A.reset.maker ~= '' then after.maker, after.maker_name = A.reset.maker, label(A.reset.maker) end
end
audit('user.password', A.uid, { epoch = now[1] }, after)
return remember({ o = 'changed', r = record(A.uid), n = n })
