-- standalone
-- Keep the files of the newest generation for sidecars that have none. An older generation, which a sidecar of a rollout
-- may still serve, replaces nothing. KEYS[1]: generations (zset: id -> order). ARGV: id, revision, code, files, signature.
local SEEN = KEYS[1]
if redis.call('ZREVRANGE', SEEN, 0, 0)[1] ~= ARGV[1] then return cjson.encode({ o = 'older' }) end
redis.call('HSET', SEEN .. ':good', 'id', ARGV[1], 'n', ARGV[2], 'code', ARGV[3], 'files', ARGV[4], 'signature', ARGV[5])
return cjson.encode({ o = 'kept' })
