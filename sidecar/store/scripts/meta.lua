-- standalone
-- Add missing fields to the meta record and return it. KEYS[1]: meta record. ARGV[1]: fields of this sidecar, JSON.
local given = cjson.decode(ARGV[1])
for field, value in pairs(given) do redis.call('HSETNX', KEYS[1], field, value) end
local flat, fields = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
return cjson.encode({ o = 'meta', meta = fields })
