-- Read only: the live records of A.uids, each with the number of its account's last change, read atomically.
-- KEYS from the second on: their accounts, in the same order.
local found = {}
for i, uid in ipairs(A.uids) do
  ACCT = KEYS[i + 1]
  found[i] = { r = record(uid), s = redis.call('HGET', ACCT, 'seq') or '0' }
end
return answer({ found = found })
