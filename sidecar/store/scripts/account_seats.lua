-- Raise or lower the cap. Below use is allowed: everybody stays, nobody is added.
local before = remembered()
if before then return before end
if not account_lives() then return outcome('no_account') end
if not actor_holds() then return outcome('actor_changed') end

sweep()
local n = publish('account', '', '0')
local was = redis.call('HGET', ACCT, 'cap')
redis.call('HSET', ACCT, 'cap', A.cap)
audit('account.seats', A.acct, { cap = was }, { cap = A.cap })
return remember({ o = 'set', seats = seats(), n = n })
