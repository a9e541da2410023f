-- standalone
-- KEYS[1]: feed. ARGV[1]: kind. Something that belongs to no account has changed (keys, policy): tell every sidecar.
local n = string.format('%.0f', redis.call('INCR', KEYS[1] .. ':n'))
redis.call('XADD', KEYS[1], 'MAXLEN', '~', 10000, '*', 'n', n, 'k', ARGV[1], 'a', '', 'u', '', 'tv', '0', 's', '0', 'ack', '1',
  'r', '', 'st', '', 'pw', '0')
return cjson.encode({ o = 'announced', n = n })
