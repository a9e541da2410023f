-- Read only: verify the secret of an invitation, before a password is hashed.
local found = record(A.uid)
if not found or found.st ~= 'invited' or found.acst ~= 'active' then return outcome('gone') end
if redis.call('HGET', key('i:' .. A.uid), 'th') ~= A.digest then return outcome('gone') end
return answer({ o = 'invitation', r = found })
