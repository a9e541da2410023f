-- Suspend or resume the account, with one event for all of its records.
local before = remembered()
if before then return before end
if not account_lives() then return outcome('no_account') end
if not actor_holds() then return outcome('actor_changed') end

local n = publish('account', '', '0', nil, true, { status = A.status })
local was = redis.call('HGET', ACCT, 'st')
redis.call('HSET', ACCT, 'st', A.status)
audit('account.status', A.acct, { status = was }, { status = A.status })
return remember({ o = 'set', a = hash(ACCT), seats = seats(), n = n })
