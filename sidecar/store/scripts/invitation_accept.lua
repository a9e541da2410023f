-- Activate an invited user. The cap is not checked, because the invitation holds the seat already.
local before = remembered()
if before then return before end
local was = record(A.uid)
if not was or was.st ~= 'invited' or was.acst ~= 'active' or was.hold then return outcome('gone') end
if redis.call('HGET', key('i:' .. A.uid), 'th') ~= A.digest then return outcome('gone') end

local home = key('u:' .. A.uid)
local name = A.name or was.name
local n, seq = publish('user', A.uid, '1', nil, false, { role = was.role, status = 'active', password = true })
redis.call('HSET', home, 'em', was.em, 'mb', was.mb or was.em, 'name', name, 'role', was.role, 'st', 'active', 'tv', '1', 'pwtv', '1',
  'pw', A.pw, 'ev', A.mailed == '1' and was.ev or '0', 'created', was.created, 'changed', int(NOW), 'rv', seq,
  'by', was.by or '', 'byn', was.byn or '')
redis.call('SADD', key('members'), A.uid)
settle_admin(A.uid, was.role, 'active')
redis.call('ZREM', key('inv'), A.uid)
redis.call('DEL', key('i:' .. A.uid))
if A.session then
  open_session(A.uid, '1', A.session)
  redis.call('HSET', home, 'seen', int(NOW))
end
audit('invitation.accepted', A.uid, { status = 'invited' }, { status = 'active', name = name, role = was.role }, A.uid)
return remember({ o = 'accepted', r = record(A.uid), n = n })
