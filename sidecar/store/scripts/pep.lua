-- Read only: one key, and where the account stands, of one instant.
local found = pep(A.pep)
return answer({ o = found and 'pep' or 'no_pep', p = found, s = redis.call('HGET', ACCT, 'seq') or '0' })
