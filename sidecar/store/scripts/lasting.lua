-- standalone
-- Read only. KEYS: keys of one partition that should end by themselves. Those that do not.
local lasting = {}
for _, name in ipairs(KEYS) do
  if redis.call('PTTL', name) == -1 then lasting[#lasting + 1] = name end
end
return cjson.encode({ o = 'lasting', all = lasting })
