-- standalone
-- Announce a change outside all accounts (keys, policy) to every sidecar. KEYS[1]: feed. ARGV[1]: kind.
-- A rejected entry restores the counter, so that the numbers have no gaps (R51).
local n = string.format('%.0f', redis.call('INCR', KEYS[1] .. ':n'))
local added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', 10000, '*', 'n', n, 'k', ARGV[1], 'a', '', 'u', '', 'tv', '0', 's', '0',
  'ack', '1', 'r', '', 'st', '', 'pw', '0')
if type(added) == 'table' and added.err then
  redis.pcall('SET', KEYS[1] .. ':n', string.format('%.0f', tonumber(n) - 1))
  error(added.err)
end
return cjson.encode({ o = 'announced', n = n })
