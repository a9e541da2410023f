-- Read only: verify the secret of an invitation, before a password is hashed or the invitation is shown. `inviter`: name
-- or e-mail; empty for an operator and for a removed user.
local found = record(A.uid)
local digest = redis.call('HGET', key('i:' .. A.uid), 'th')
local live = found and found.st == 'invited' and found.acst == 'active' and not found.hold
if not live or digest ~= A.digest then return outcome('gone') end
local inviter = found.by and found.by ~= '' and record(found.by) or {}
if inviter.name == '' then inviter.name = inviter.em end
return answer({ o = 'invitation', r = found, account = redis.call('HGET', ACCT, 'name'), inviter = inviter.name or '' })
