-- Read only, for many accounts at once: the user that the subject was linked to, with its epoch (a link that ends raises
-- it), and the active user who has the e-mail. KEYS from the second on: the accounts, in the order of the answer.
local found = {}
for i = 2, #KEYS do
  ACCT = KEYS[i]
  local linked = redis.call('HGET', key('links'), A.link)
  local epoch = linked and redis.call('HGET', key('u:' .. linked), 'tv')
  local named = A.email and redis.call('HGET', key('em'), A.email)
  local active = named and redis.call('HGET', key('u:' .. named), 'st') == 'active'
    and redis.call('HGET', ACCT, 'st') == 'active'
  found[i - 1] = { u = epoch and linked or '', tv = epoch or '0', e = active and named or '' }
end
return answer({ o = 'sought', found = found })
