-- A new secret and a new expiry on the same seat, also when the account is full. The old link is dead.
local before = remembered()
if before then return before end
if not actor_holds() then return outcome('actor_changed') end
local earlier = replayed()
if earlier then return earlier end
local was = record(A.uid)
if not was then return outcome('no_user') end
if was.st ~= 'invited' then return outcome('not_invited') end
if A.judged ~= '' and was.role ~= A.judged then return outcome('actor_changed') end
if redis.call('HGET', ACCT, 'st') ~= 'active' then return outcome('account_suspended') end

local ends, home = int(NOW + A.ttl), key('i:' .. A.uid)
redis.call('ZADD', key('inv'), ends, A.uid)
redis.call('HSET', home, 'th', A.digest, 'ev', A.mailed, 'by', A.by.uid, 'exp', ends, 'changed', int(NOW))
redis.call('PEXPIREAT', home, int(NOW + A.ttl + 60000))
local seq = stamp(home)
audit('invitation.resent', A.uid, { expires = was.exp }, { expires = ends })
local n = publish('user', A.uid, '0', seq)
local done = { o = 'invited', r = record(A.uid), n = n }
remember_idempotent(done)
return remember(done)
