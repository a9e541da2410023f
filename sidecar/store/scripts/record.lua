-- Read only: the live records of A.uids, and where the account of each stands, of one instant.
-- KEYS from the second on: their accounts, in the same order.
local found = {}
for i, uid in ipairs(A.uids) do
  ACCT = KEYS[i + 1]
  found[i] = { r = record(uid), s = redis.call('HGET', ACCT, 'seq') or '0' }
end
return answer({ found = found })
