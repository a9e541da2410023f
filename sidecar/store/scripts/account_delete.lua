-- include: factors
-- Delete all users. The account's hash stays: its id is never reused, its changes count on, its audit can be exported.
local before = remembered()
if before then return before end
if not account_lives() then return outcome('no_account') end
if not actor_holds() then return outcome('actor_changed') end

local n = publish('account', '', '0', nil, true, { status = 'deleted' })
local users, emails = redis.call('SMEMBERS', key('members')), redis.call('HKEYS', key('em'))
for _, uid in ipairs(users) do
  end_sessions(uid)
  drop_factors(uid)
  redis.call('DEL', key('u:' .. uid), key('us:' .. uid))
end
for _, uid in ipairs(redis.call('ZRANGE', key('inv'), 0, -1)) do
  redis.call('DEL', key('i:' .. uid))
  if invited(uid) then users[#users + 1] = uid end
end
for _, id in ipairs(redis.call('SMEMBERS', key('peps'))) do redis.call('DEL', key('pep:' .. id)) end
-- Remove name and indexes last: a call repeated after a failure then finds the users left to remove (R51).
local name = redis.call('HGET', ACCT, 'name')
audit('account.deleted', A.acct, { name = name, users = #users }, nil)
redis.call('DEL', key('members'), key('admins'), key('em'), key('inv'), key('peps'), key('links'),
  key('fails'), key('fails:h'))
redis.call('HSET', ACCT, 'st', 'deleted')
redis.call('HDEL', ACCT, 'name', 'labels')
return remember({ o = 'deleted', users = users, emails = emails, name = name, n = n })
