-- Read only: the user that a subject of an outside issuer was linked to.
local uid = redis.call('HGET', key('links'), A.link)
if uid and redis.call('EXISTS', key('u:' .. uid)) == 1 then return answer({ o = 'linked', u = uid }) end
return outcome('no_link')
