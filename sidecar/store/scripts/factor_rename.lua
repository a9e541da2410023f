-- include: factors
-- Rename a confirmed factor. The record does not contain the name, so there is no event.
local before = remembered()
if before then return before end
if not actor_holds() then return outcome('actor_changed') end
if not factors_of(A.uid)[A.id] then return outcome('gone') end
local was = redis.call('HGET', key('f:' .. A.id), 'name')
if was ~= A.name then
  redis.call('HSET', key('f:' .. A.id), 'name', A.name)
  audit('factor.renamed', A.uid, { factor = A.id, name = was }, { factor = A.id, name = A.name })
end
return remember({ o = 'renamed' })
