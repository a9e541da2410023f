-- Read only: one account for a backup, without sessions, because a restore ends all of them, and without recovery codes,
-- which a restore voids (R35).
local users, factors, invitations, peps = {}, {}, {}, {}
for _, uid in ipairs(redis.call('SMEMBERS', key('members'))) do
  users[#users + 1] = { uid, redis.call('HGETALL', key('u:' .. uid)) }
  for id, counts in pairs(hash(key('factors:' .. uid))) do
    local fields = redis.call('HGETALL', key('f:' .. id))
    fields[#fields + 1], fields[#fields + 2] = 'counts', counts
    factors[#factors + 1] = { id, fields }
  end
end
for _, uid in ipairs(redis.call('ZRANGEBYSCORE', key('inv'), '(' .. int(NOW - KEPT_MS), '+inf')) do
  invitations[#invitations + 1] = { uid, redis.call('HGETALL', key('i:' .. uid)) }
end
for _, id in ipairs(redis.call('SMEMBERS', key('peps'))) do
  peps[#peps + 1] = { id, redis.call('HGETALL', key('pep:' .. id)) }
end
local flat, account = redis.call('HGETALL', ACCT), {}
for i = 1, #flat, 2 do
  if flat[i] ~= 'acked' then -- a position in this store's feed, meaningless in another store
    account[#account + 1] = flat[i]
    account[#account + 1] = flat[i + 1]
  end
end
return answer({ o = account_lives() and 'account' or 'no_account', a = account, users = users,
  factors = factors, invitations = invitations, peps = peps, links = redis.call('HGETALL', key('links')),
  seal = redis.call('HGETALL', key('log:seal')) })
