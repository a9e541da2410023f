-- Read only: the data of one account that fsck compares, read atomically. Password hashes and sealed secrets are omitted.
local function absent(name) return redis.call('EXISTS', name) == 0 end

local users = {}
for _, uid in ipairs(redis.call('SMEMBERS', key('members'))) do
  local fields = hash(key('u:' .. uid))
  fields.id, fields.pw = uid, fields.pw and '1' or nil
  local flat, sessions = redis.call('ZRANGEBYSCORE', key('us:' .. uid), '(' .. int(NOW), '+inf', 'WITHSCORES'), {}
  for i = 1, #flat, 2 do
    local held = redis.call('HMGET', key('s:' .. flat[i]), 'u', 'tv', 'at', 'by')
    sessions[#sessions + 1] = { flat[i], held[1] or '', held[2] or '', held[3] or '', held[4] or '' }
  end
  fields.sessions = sessions
  local factors = {}
  for id, counts in pairs(hash(key('factors:' .. uid))) do
    local held = redis.call('HMGET', key('f:' .. id), 'u', 'sealed', 'step', 'count')
    factors[#factors + 1] = { id, counts, held[1] or '', held[2] and '1' or '0', held[3] or '', held[4] or '' }
  end
  fields.factors, fields.codes = factors, redis.call('SCARD', key('rc:' .. uid))
  users[#users + 1] = fields
end

local invitations, invited_as, pending = {}, {}, redis.call('ZRANGE', key('inv'), 0, -1, 'WITHSCORES')
for i = 1, #pending, 2 do
  local found = redis.call('HMGET', key('i:' .. pending[i]), 'em', 'role')
  local email, live = found[1], tonumber(pending[i + 1]) > NOW
  if live and found[2] then invited_as[#invited_as + 1] = { pending[i], found[2] } end
  invitations[#invitations + 1] = { pending[i], email or '', live and '1' or '0' }
end

local first = redis.call('XRANGE', key('log'), '-', '+', 'COUNT', 1)[1]
local last = redis.call('XREVRANGE', key('log'), '+', '-', 'COUNT', 1)[1]
local peps = {}
for _, id in ipairs(redis.call('SMEMBERS', key('peps'))) do peps[#peps + 1] = { id, absent(key('pep:' .. id)) and '0' or '1' } end
return answer({ o = 'account', a = hash(ACCT), users = users, invitations = invitations, invited_as = invited_as, peps = peps,
  admins = redis.call('SMEMBERS', key('admins')), em = redis.call('HGETALL', key('em')), links = redis.call('HGETALL', key('links')),
  log = { redis.call('XLEN', key('log')), first and first[1] or '', last and last[1] or '' } })
