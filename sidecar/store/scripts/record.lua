-- Read only: one user's live record, and where the account and the feed stand, of one instant.
local found = record(A.uid)
return answer({ o = found and 'record' or 'no_user', r = found, s = redis.call('HGET', ACCT, 'seq') or '0',
  n = redis.call('GET', FEED .. ':n') or '0' })
