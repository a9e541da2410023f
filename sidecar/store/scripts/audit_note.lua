-- standalone
-- Write an audit row. KEYS[1]: log of events outside all accounts. ARGV[1]: the row, JSON.
local LOG, A = KEYS[1], cjson.decode(ARGV[1])
local before = redis.call('GET', LOG .. ':rid:' .. A.rid)
if before then return before end
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local seq = string.format('%.0f', redis.call('INCR', LOG .. ':rows'))
local added = redis.pcall('XADD', LOG, seq .. '-0', 'action', A.action, 'actor', A.actor, 'target', A.target,
  'before', A.before, 'after', A.after, 'addr', A.addr, 'req', A.req, 't', now)
if type(added) == 'table' and added.err then -- restore the counter: rows have no gaps (R32)
  redis.pcall('SET', LOG .. ':rows', string.format('%.0f', tonumber(seq) - 1))
  error(added.err)
end
local answer = cjson.encode({ o = 'noted', n = seq })
redis.call('SET', LOG .. ':rid:' .. A.rid, answer, 'PX', 600000)
return answer
