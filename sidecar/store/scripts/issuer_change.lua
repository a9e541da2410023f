-- standalone
-- Replace the issuer. KEYS[1]: meta record. ARGV[1], ARGV[2]: the issuer that was read, the new issuer.
local now = redis.call('HGET', KEYS[1], 'issuer')
if now ~= ARGV[1] then return cjson.encode({ o = 'other', issuer = now or '' }) end
redis.call('HSET', KEYS[1], 'issuer', ARGV[2])
return cjson.encode({ o = 'changed' })
