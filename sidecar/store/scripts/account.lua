-- Read only: the account and its seats, now.
if not account_lives() then return outcome('no_account') end
return answer({ o = 'account', a = hash(ACCT), seats = seats() })
