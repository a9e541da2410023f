-- Read only: what a sign-in compares, by uid or by e-mail. The hash leaves the store here and nowhere else.
local uid = A.uid
if uid == '' then uid = redis.call('HGET', key('em'), A.email) end
if not uid then return outcome('no_user') end
local found = record(uid)
if not found then return outcome('no_user') end
return answer({ o = 'found', r = found, pw = redis.call('HGET', key('u:' .. uid), 'pw') or '' })
