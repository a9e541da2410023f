-- Read only: the live sessions of a user.
local all = {}
local flat = redis.call('ZRANGEBYSCORE', key('us:' .. A.uid), '(' .. int(NOW), '+inf', 'WITHSCORES')
for i = 1, #flat, 2 do
  local session = hash(key('s:' .. flat[i]))
  all[#all + 1] = { flat[i], flat[i + 1], session.created or '0', session.ct or '0', session.addr or '',
    session.agent or '' }
end
return answer({ o = 'sessions', all = all })
