-- Read only: the credentials of a user, by uid or by e-mail. Only this script and a backup return the
-- password hash.
local uid = A.uid
if uid == '' then uid = redis.call('HGET', key('em'), A.email) end
if not uid then return outcome('no_user') end
local found = record(uid)
if not found then return outcome('no_user') end
return answer({ o = 'found', r = found, pw = redis.call('HGET', key('u:' .. uid), 'pw') or '' })
