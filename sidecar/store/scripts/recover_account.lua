-- include: factors
-- R48: recover users of one account after the store has lost entries. Every epoch rises above the acknowledged ones,
-- and every session ends. A user with a known lost change is held for a review. A second run only raises the epochs
-- again.
-- A.uids: users to process. A.users: by id, the lost role, status, epochs and last entry, and whether a change of second
-- factors was lost. A.status: lost status of the
-- account. A.restored: a restore of it was lost. A.everyone: hold all users. A.head: also process the account itself.
-- A.live: sidecars are serving, so each change is an event, and an entry counts once. A.dry: only count.
-- Without A.live, events are only for the journals, so that a further loss holds the same users again.
local users, held, seen = A.users, 0, (string.gsub(FEED, ':feed$', ':lost:late'))
local all = (A.everyone or A.restored) and 'all' or ''
if A.status ~= '' and A.status ~= redis.call('HGET', ACCT, 'st') then
  all = ({ suspended = 'suspended', deleted = 'removed' })[A.status] or all
end

local function revoke(id)
  if redis.call('EXISTS', key('pep:' .. id)) == 0 then return end
  publish('pep', id, '0', nil, true, { status = 'revoked' })
  redis.call('DEL', key('pep:' .. id))
  redis.call('SREM', key('peps'), id)
  redis.call('SADD', key('pepgone'), id)
  audit('pep.revoked', id, nil, { recovered = true })
end

if A.head and not A.dry then
  local count = tonumber(redis.call('HGET', ACCT, 'seq') or '0')
  redis.call('HSET', ACCT, 'seq', int(math.max(count, tonumber(A.seq))))
  for _, id in ipairs(A.peps) do revoke(id) end
  audit('account.recovered', A.acct, nil, { lost = A.lost })
end

-- Return the highest acknowledged epoch, whether a password change raised it, and whether another change did. The
-- stored epoch may have been repaired since (user_raise_epoch.lua); the epoch of the password was not.
local function acknowledged(now, steps)
  local highest, password, other = tonumber(now[3] or '0'), false, false
  local epoch = math.min(highest, tonumber(now[4] or '0'))
  for _, step in ipairs(steps) do
    if tonumber(step[1]) > epoch then
      if step[2] == '1' then password = true else other = true end
      epoch = tonumber(step[1])
    end
  end
  return math.max(highest, epoch), password, other
end

local function go_over(uid, lost)
  local member = redis.call('EXISTS', key('u:' .. uid)) == 1
  local home = key((member and 'u:' or 'i:') .. uid)
  local now = redis.call('HMGET', home, 'role', 'st', 'tv', 'pwtv', 'hold')
  if not now[1] then return end
  local role, status = now[1], now[2] or 'invited'
  local epoch, password, other = acknowledged(now, lost and lost.epochs or {})
  local before = { role = lost and lost.role ~= '' and lost.role or role, status = lost and lost.status ~= '' and lost.status or status }
  if all == 'suspended' or all == 'removed' then before.status = all end
  local waits = all ~= '' or (member and (other or (lost and lost.factors == '1'))) or before.role ~= role or before.status ~= status
  if waits then held = held + 1 end
  if A.dry then return end

  if A.live or waits or password then
    before.password = password
    publish('user', uid, member and int(epoch + 1) or '0', home, true, before)
    before.password = nil
  else
    stamp(home)
  end
  if member then
    redis.call('HSET', home, 'tv', int(epoch + 1), 'tvt', int(NOW))
    if now[3] == now[4] and not password then redis.call('HSET', home, 'pwtv', int(epoch + 1)) end
    end_sessions(uid)
    -- R35: a step that was used may have been lost. The codes of this minute are refused.
    for id in pairs(factors_of(uid)) do
      local used, least = tonumber(redis.call('HGET', key('f:' .. id), 'step') or '-1'), math.floor(NOW / STEP_MS) + 1
      if used >= 0 and used < least then redis.call('HSET', key('f:' .. id), 'step', int(least)) end
    end
    -- So may the use of a recovery code be. It is a change of its user.
    if (lost or all ~= '') and redis.call('DEL', key('rc:' .. uid)) == 1 then
      audit('factor.recovery_codes', uid, nil, { codes = 0, recovered = true })
    end
  end
  if waits then
    before.t = now[5] and cjson.decode(now[5]).t or int(NOW)
    redis.call('HSET', home, 'hold', cjson.encode(before))
    redis.call('SREM', key('admins'), uid)
    audit('user.held', uid, { role = before.role, status = before.status }, { role = role, status = status })
  end
end

for _, uid in ipairs(A.uids) do
  local lost = users[uid]
  if not (A.live and lost and redis.call('HGET', seen, uid) == lost.entry) then
    go_over(uid, lost)
    if A.live and lost then
      redis.call('HSET', seen, uid, lost.entry)
      redis.call('PEXPIRE', seen, 2592000000)
    end
  end
end
return answer({ o = 'recovered', held = held, n = redis.call('GET', FEED .. ':n') or '0' })
