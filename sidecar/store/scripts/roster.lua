-- Read only: all users of the account, and its seats, read atomically.
if not account_lives() then return outcome('no_account') end
local all = {}
local function add(uid)
  local found = record(uid)
  if not found then return end
  local inviter = found.by and label(found.by) or ''
  found.inviter = inviter ~= '' and inviter or found.byn
  all[#all + 1] = found
end
for _, uid in ipairs(redis.call('SMEMBERS', key('members'))) do add(uid) end
for _, uid in ipairs(redis.call('ZRANGEBYSCORE', key('inv'), '(' .. int(NOW - KEPT_MS), '+inf')) do add(uid) end
return answer({ o = 'roster', all = all, seats = seats() })
