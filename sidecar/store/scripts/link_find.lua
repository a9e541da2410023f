-- Read only: the user linked to a subject of an external issuer, and its epoch, which the end of a link raises.
local uid = redis.call('HGET', key('links'), A.link)
local epoch = uid and redis.call('HGET', key('u:' .. uid), 'tv')
if epoch then return answer({ o = 'linked', u = uid, tv = epoch }) end
return outcome('no_link')
