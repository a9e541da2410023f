-- Rebuild the indexes of an account from its users and invitations, which are authoritative and not changed.
sweep()
local n = publish('account', '', '0', nil, true)
redis.call('DEL', key('admins'), key('em'))
for _, uid in ipairs(redis.call('SMEMBERS', key('members'))) do
  local fields = redis.call('HMGET', key('u:' .. uid), 'em', 'role', 'st')
  if fields[1] then
    redis.call('HSET', key('em'), fields[1], uid)
    settle_admin(uid, fields[2], fields[3])
  else
    redis.call('SREM', key('members'), uid)
  end
end
for _, uid in ipairs(redis.call('ZREVRANGE', key('inv'), 0, -1)) do -- invitations that hold a seat first
  local email = redis.call('HGET', key('i:' .. uid), 'em')
  if email then
    redis.call('HSETNX', key('em'), email, uid)
  else
    redis.call('ZREM', key('inv'), uid)
  end
end
for _, id in ipairs(redis.call('SMEMBERS', key('peps'))) do
  if redis.call('EXISTS', key('pep:' .. id)) == 0 then redis.call('SREM', key('peps'), id) end
end
local links = redis.call('HGETALL', key('links'))
for i = 1, #links, 2 do
  local uid = string.gsub(links[i + 1], '^-', '')
  if redis.call('EXISTS', key('u:' .. uid)) == 0 then redis.call('HDEL', key('links'), links[i]) end
end
audit('store.repaired', A.acct, nil, { indexes = 'admins, e-mails, links' })
return answer({ o = 'repaired', n = n })
