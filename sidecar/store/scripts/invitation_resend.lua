-- Set a new secret and expiry for the same seat, also when the account is full. Invalidates the old link. An expired
-- invitation needs a free seat.
local before = remembered()
if before then return before end
if not actor_holds() then return outcome('actor_changed') end
local earlier = replayed()
if earlier then return earlier end
sweep()
local was = record(A.uid)
if not was then return outcome('no_user') end
if was.st ~= 'invited' and was.st ~= 'expired' then return outcome('not_invited') end
if A.expected_role ~= '' and was.role ~= A.expected_role then return outcome('actor_changed') end
if redis.call('HGET', ACCT, 'st') ~= 'active' then return outcome('account_suspended') end
if was.st == 'expired' then
  local owner = redis.call('HGET', key('em'), was.em)
  if owner and owner ~= A.uid then return outcome('no_user') end -- another user has the e-mail now
  if used_seats() >= tonumber(redis.call('HGET', ACCT, 'cap')) then
    return answer({ o = 'seat_limit', seats = seats() })
  end
end

local ends, home = int(NOW + A.ttl), key('i:' .. A.uid)
local n = publish('user', A.uid, '0', home)
redis.call('HSET', key('em'), was.em, A.uid)
redis.call('HSET', home, 'th', A.digest, 'ev', A.mailed, 'by', A.by.uid, 'byn', label(A.by.uid), 'exp', ends, 'changed', int(NOW))
keep_invitation(A.uid, NOW + A.ttl)
audit('invitation.resent', A.uid, { status = was.st, expires = was.exp }, { status = 'invited', expires = ends })
local done = { o = 'invited', r = record(A.uid), n = n }
remember_idempotent(done)
return remember(done)
