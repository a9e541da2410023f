-- Raise or lower the cap. A cap below the seats in use is valid: users keep their seats, and no user can be added.
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
