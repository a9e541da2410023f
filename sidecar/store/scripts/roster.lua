-- Read only: all users of the account, and its seats, read atomically.
if not account_lives() then return outcome('no_account') end
local all = {}
for _, uid in ipairs(redis.call('SMEMBERS', key('members'))) do all[#all + 1] = record(uid) end
for _, uid in ipairs(redis.call('ZRANGEBYSCORE', key('inv'), '(' .. int(NOW - KEPT_MS), '+inf')) do
  all[#all + 1] = record(uid)
end
return answer({ o = 'roster', all = all, seats = seats() })
