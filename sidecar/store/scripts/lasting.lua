-- standalone
-- Read only. KEYS: keys of one partition that should have an expiry. Returns those without one.
local lasting = {}
for _, name in ipairs(KEYS) do
  if redis.call('PTTL', name) == -1 then lasting[#lasting + 1] = name end
end
return cjson.encode({ o = 'lasting', all = lasting })
