-- Read only: a factor that waits for its confirmation.
local pending = hash(key('fp:' .. A.id))
if pending.u ~= A.uid then return outcome('gone') end
return answer({ o = 'found', sealed = pending.sealed, created = pending.created })
