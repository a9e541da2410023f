-- Read only: one key, and the number of the account's last change, read atomically.
local found = pep(A.pep)
return answer({ o = found and 'pep' or 'no_pep', p = found, s = redis.call('HGET', ACCT, 'seq') or '0' })
