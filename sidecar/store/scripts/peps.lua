-- Read only: the PEP keys of the account.
if not account_lives() then return outcome('no_account') end
local all = {}
for _, id in ipairs(redis.call('SMEMBERS', key('peps'))) do all[#all + 1] = pep(id) end
return answer({ o = 'peps', all = all })
