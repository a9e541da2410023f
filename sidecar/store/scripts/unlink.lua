-- R10: unlink a user from external subjects, by order of an operator. An unlinked subject is forbidden to link again,
-- because its next token would do so. `may_return` permits it, also to subjects forbidden before. The epoch rises,
-- which revokes all tokens.
local before = remembered()
if before then return before end
local home = key('u:' .. A.uid)
local now = redis.call('HMGET', home, 'tv', 'pwtv')
if not now[1] then return outcome('no_user') end
if not actor_holds() then return outcome('actor_changed') end

local flat, parted = redis.call('HGETALL', key('links')), {}
for i = 1, #flat, 2 do
  local mine = flat[i + 1] == A.uid or (A.may_return and flat[i + 1] == '-' .. A.uid)
  if mine and string.sub(flat[i], 1, #A.family) == A.family then parted[#parted + 1] = flat[i] end
end
if #parted == 0 then return outcome('no_link') end

local epoch = int(tonumber(now[1]) + 1)
local n = publish('user', A.uid, epoch, home, true)
for _, link in ipairs(parted) do
  if A.may_return then
    redis.call('HDEL', key('links'), link)
  else
    redis.call('HSET', key('links'), link, '-' .. A.uid)
  end
end
redis.call('HSET', home, 'tv', epoch, 'tvt', int(NOW), 'changed', int(NOW))
if now[1] == now[2] then redis.call('HSET', home, 'pwtv', epoch) end
end_sessions(A.uid)
audit('user.unlinked', A.uid, { epoch = now[1], issuer = A.issuer, subjects = #parted },
  { epoch = epoch, may_return = A.may_return and true or false })
return remember({ o = 'unlinked', r = record(A.uid), parted = #parted, n = n })
