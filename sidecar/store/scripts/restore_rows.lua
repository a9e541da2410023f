-- The audit's rows of an account whose log is not here, in order, and at the end the row that says so.
for _, row in ipairs(A.rows) do
  local add = { key('log'), row[1] }
  for _, word in ipairs(row[2]) do add[#add + 1] = word end
  redis.call('XADD', unpack(add))
end
if #A.rows > 0 then redis.call('SADD', FEED .. ':open', key('log')) end
if A.done then
  local last = redis.call('XREVRANGE', key('log'), '+', '-', 'COUNT', 1)[1]
  if last then redis.call('HSET', ACCT, 'rows', (string.match(last[1], '^%d+'))) end
  audit('account.restored', A.acct, nil, { taken = A.taken })
end
return outcome('added')
