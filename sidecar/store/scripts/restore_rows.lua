-- Add audit rows of an account whose log is missing, in order, and at the end a row for the restore. Rows added by an
-- earlier call are skipped (R51).
local newest = redis.call('XREVRANGE', key('log'), '+', '-', 'COUNT', 1)[1]
newest = newest and tonumber(string.match(newest[1], '^%d+')) or 0
for _, row in ipairs(A.rows) do
  local add = { key('log'), row[1] }
  for _, word in ipairs(row[2]) do add[#add + 1] = word end
  if tonumber(string.match(row[1], '^%d+')) > newest then redis.call('XADD', unpack(add)) end
end
if #A.rows > 0 then redis.call('SADD', FEED .. ':open', key('log')) end
if A.done then
  local last = redis.call('XREVRANGE', key('log'), '+', '-', 'COUNT', 1)[1]
  if last then redis.call('HSET', ACCT, 'rows', (string.match(last[1], '^%d+'))) end
  audit('account.restored', A.acct, nil, { taken = A.taken })
end
return outcome('added')
