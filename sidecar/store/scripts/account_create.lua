-- Create the account and its first administrator. The operator vouches for the e-mail, so it is verified (R9).
local before = remembered()
if before then return before end
if redis.call('HGET', ACCT, 'st') then return outcome('exists') end

local n, seq = publish('user', A.uid, '1', nil, false, { role = ADMIN, status = 'active', password = true })
index_account()
redis.call('SADD', key('members'), A.uid)
redis.call('SADD', key('admins'), A.uid)
redis.call('HSET', key('em'), A.email, A.uid)
redis.call('HSET', key('u:' .. A.uid), 'em', A.email, 'mb', A.mailbox, 'name', A.admin_name, 'role', ADMIN, 'st', 'active', 'tv', '1',
  'pwtv', '1', 'pw', A.pw, 'ev', '1', 'created', int(NOW), 'changed', int(NOW), 'rv', seq)
redis.call('HSET', ACCT, 'id', A.acct, 'name', A.name, 'cap', A.cap, 'st', 'active', 'created', int(NOW))
audit('account.created', A.acct, nil, { name = A.name, cap = A.cap })
audit('user.created', A.uid, nil, { email = A.email, name = A.admin_name, role = ADMIN })
return remember({ o = 'created', a = hash(ACCT), seats = seats(), r = record(A.uid), n = n })
