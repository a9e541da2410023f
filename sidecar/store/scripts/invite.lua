-- Invite a user and hold a seat; with A.pw, create an active user, whose e-mail is not verified (R9). Only this script
-- decides on cap and e-mail. An expired invitation holds neither.
local before = remembered()
if before then return before end
if not account_lives() then return outcome('no_account') end
if not actor_holds() then return outcome('actor_changed') end
local earlier = replayed()
if earlier then return earlier end
if redis.call('HGET', ACCT, 'st') ~= 'active' then return outcome('account_suspended') end

sweep()
local owner = redis.call('HGET', key('em'), A.email)
if owner and redis.call('SISMEMBER', key('members'), owner) == 1 then
  return answer({ o = 'already_member', u = owner })
end
if owner and invited(owner) then
  return answer({ o = 'already_invited', u = owner, exp = redis.call('ZSCORE', key('inv'), owner) })
end
if used_seats() >= tonumber(redis.call('HGET', ACCT, 'cap')) then
  return answer({ o = 'seat_limit', seats = seats() })
end

if owner then -- replace an expired invitation of the same e-mail
  publish('removed', owner, '0')
  drop_invitation(owner)
end
if A.pw then
  local n, seq = publish('user', A.uid, '1', nil, false, { role = A.role, status = 'active', password = true })
  redis.call('HSET', key('u:' .. A.uid), 'em', A.email, 'mb', A.mailbox, 'name', A.name, 'role', A.role, 'st', 'active',
    'tv', '1', 'pwtv', '1', 'pw', A.pw, 'ev', '0', 'by', A.by.uid, 'byn', label(A.by.uid), 'created', int(NOW),
    'changed', int(NOW), 'rv', seq)
  redis.call('SADD', key('members'), A.uid)
  redis.call('HSET', key('em'), A.email, A.uid)
  settle_admin(A.uid, A.role, 'active')
  audit('user.created', A.uid, owner and { replaced = owner } or nil, { email = A.email, name = A.name, role = A.role })
  return remember({ o = 'created', r = record(A.uid), n = n })
end
local ends, home = int(NOW + A.ttl), key('i:' .. A.uid)
local n, seq = publish('user', A.uid, '0', nil, false, { role = A.role, status = 'invited' })
redis.call('HSET', key('em'), A.email, A.uid)
redis.call('HSET', home, 'em', A.email, 'mb', A.mailbox, 'name', A.name, 'role', A.role, 'th', A.digest, 'ev', A.mailed,
  'by', A.by.uid, 'byn', label(A.by.uid), 'exp', ends, 'created', int(NOW), 'changed', int(NOW), 'rv', seq)
keep_invitation(A.uid, NOW + A.ttl)
audit('user.invited', A.uid, owner and { replaced = owner } or nil, { email = A.email, name = A.name, role = A.role, expires = ends })
local done = { o = 'invited', r = record(A.uid), n = n }
remember_idempotent(done)
return remember(done)
