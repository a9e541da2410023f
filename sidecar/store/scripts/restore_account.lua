-- include: factors
-- Replace one account by its backup. Every epoch rises above both the backup's and the stored one, and no session is
-- restored, so that older tokens stay invalid. PEP keys revoked in this store and external subjects forbidden in it are
-- not restored. Counters continue from the higher of both values. Recovery codes are void, and neither steps nor counters
-- of factors go back (R35).
local before = remembered()
if before then return before end
local function fields(flat)
  local found = {}
  for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
  return found
end
-- R51: overwrite before removing, so that a restore that fails half-way loses no counter and no epoch.
local function put(name, wanted)
  for field, value in pairs(wanted) do redis.call('HSET', name, field, value) end
  for _, field in ipairs(redis.call('HKEYS', name)) do
    if not wanted[field] then redis.call('HDEL', name, field) end
  end
end
local function most(one, other) return int(math.max(tonumber(one or '0'), tonumber(other or '0'))) end

local here, was = hash(ACCT), fields(A.data.a)
local epochs, uses = {}, {}
for _, pair in ipairs(A.data.factors or {}) do uses[pair[1]] = redis.call('HMGET', key('f:' .. pair[1]), 'step', 'count') end
for _, pair in ipairs(A.data.users) do epochs[pair[1]] = redis.call('HGET', key('u:' .. pair[1]), 'tv') or '0' end
-- Two events: copies of the account are invalid, and users removed since the backup may exist again.
local seq = int(tonumber(most(here.seq, was.seq)) + 1)
send('account', '', '0', seq, false, { status = was.st })
local n = send('restored', '', '0', seq, true, { status = was.st })
for _, uid in ipairs(redis.call('SMEMBERS', key('members'))) do
  end_sessions(uid)
  redis.call('DEL', key('rc:' .. uid))
  if not epochs[uid] then redis.call('DEL', key('u:' .. uid), key('us:' .. uid)) end
  if not epochs[uid] then drop_factors(uid) end
end
for _, uid in ipairs(redis.call('ZRANGE', key('inv'), 0, -1)) do redis.call('DEL', key('i:' .. uid)) end
for _, id in ipairs(redis.call('SMEMBERS', key('peps'))) do redis.call('DEL', key('pep:' .. id)) end
redis.call('DEL', key('members'), key('admins'), key('em'), key('inv'), key('peps'))

local fresh = redis.call('EXISTS', key('log')) == 0
was.seq, was.acked, was.born = seq, n, most(here.born, was.born)
was.rows = (fresh and was.rows or here.rows) or '0'
put(ACCT, was)
index_account()
local links = redis.call('HGETALL', key('links'))
put(key('links'), fields(A.data.links))
if fresh then put(key('log:seal'), fields(A.data.seal)) end

for _, pair in ipairs(A.data.users) do
  local uid, home, user = pair[1], key('u:' .. pair[1]), fields(pair[2])
  local epoch = int(tonumber(most(user.tv, epochs[uid])) + 1)
  redis.call('HSET', home, 'tv', epoch)
  user.tv, user.pwtv = epoch, user.tv == user.pwtv and epoch or user.pwtv
  user.tvt, user.rv, user.changed = int(NOW), seq, int(NOW)
  put(home, user)
  redis.call('SADD', key('members'), uid)
  redis.call('HSET', key('em'), user.em, uid)
  settle_admin(uid, user.role, user.st)
end
-- A code of the time of the restore may have been used after the backup: it and the next one are refused.
local step = int(math.floor(NOW / STEP_MS) + 1)
local listed = {}
for _, pair in ipairs(A.data.factors or {}) do
  local id, factor = pair[1], fields(pair[2])
  local counts, uid = factor.counts, factor.u
  factor.counts = nil
  if factor.step then factor.step = most(most(factor.step, uses[id][1]), step) end
  if factor.count then factor.count = most(factor.count, uses[id][2]) end
  put(key('f:' .. id), factor)
  listed[uid] = listed[uid] or {}
  listed[uid][id] = counts
end
for _, pair in ipairs(A.data.users) do
  local uid = pair[1]
  local wanted = listed[uid] or {}
  for id in pairs(factors_of(uid)) do
    if not wanted[id] then redis.call('DEL', key('f:' .. id)) end
  end
  put(key('factors:' .. uid), wanted)
end
for _, pair in ipairs(A.data.invitations) do
  local uid, home, invitation = pair[1], key('i:' .. pair[1]), fields(pair[2])
  if tonumber(invitation.exp) > NOW - KEPT_MS then
    invitation.rv = seq
    put(home, invitation)
    keep_invitation(uid, tonumber(invitation.exp))
    redis.call('HSETNX', key('em'), invitation.em, uid)
  end
end
for i = 1, #links, 2 do
  local barred = string.match(links[i + 1], '^-(.+)$')
  if barred and redis.call('EXISTS', key('u:' .. barred)) == 1 then
    redis.call('HSET', key('links'), links[i], links[i + 1])
  end
end
for _, pair in ipairs(A.data.peps) do
  if redis.call('SISMEMBER', key('pepgone'), pair[1]) == 0 then
    put(key('pep:' .. pair[1]), fields(pair[2]))
    redis.call('SADD', key('peps'), pair[1])
  end
end
return remember({ o = 'restored', n = n, fresh = fresh and '1' or '0', users = #A.data.users })
