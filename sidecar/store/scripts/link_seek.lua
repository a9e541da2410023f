-- Read only, for several accounts: the user linked to the subject, with its epoch, which the end of a link raises; else
-- the active user with the e-mail, and whether link.lua would link the two. KEYS from the second on: the accounts, in
-- the order of the reply.
local function may_link(uid, linked)
  if linked and string.sub(linked, 1, 1) == '-' then return false end -- forbidden
  local mailbox = redis.call('HGET', key('u:' .. uid), 'mb')
  if mailbox and string.lower(mailbox) ~= A.email then return false end
  local flat = redis.call('HGETALL', key('links'))
  for i = 1, #flat, 2 do
    if flat[i + 1] == uid and string.sub(flat[i], 1, #A.family) == A.family then return false end -- other subject
  end
  return true
end

local found = {}
for i = 2, #KEYS do
  ACCT = KEYS[i]
  local linked = redis.call('HGET', key('links'), A.link)
  local epoch = linked and redis.call('HGET', key('u:' .. linked), 'tv')
  local named = not epoch and A.email and redis.call('HGET', key('em'), A.email)
  local active = named and redis.call('HGET', key('u:' .. named), 'st') == 'active'
    and redis.call('HEXISTS', key('u:' .. named), 'hold') == 0 and redis.call('HGET', ACCT, 'st') == 'active'
  found[i - 1] = { u = epoch and linked or '', tv = epoch or '0', e = active and named or '',
    may = active and may_link(named, linked) and '1' or '0' }
end
return answer({ o = 'sought', found = found })
