-- Read only: the user that a subject of an outside issuer was linked to, and its epoch: a link that ends raises it.
local uid = redis.call('HGET', key('links'), A.link)
local epoch = uid and redis.call('HGET', key('u:' .. uid), 'tv')
if epoch then return answer({ o = 'linked', u = uid, tv = epoch }) end
return outcome('no_link')
