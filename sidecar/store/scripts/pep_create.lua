-- Create a PEP key. The store holds a digest that verifies the secret, not the secret.
local before = remembered()
if before then return before end
if not account_lives() then return outcome('no_account') end
if not actor_holds() then return outcome('actor_changed') end
local held = redis.call('SMEMBERS', key('peps'))
for _, id in ipairs(held) do
  if redis.call('HGET', key('pep:' .. id), 'name') == A.name then return answer({ o = 'exists', id = id }) end
end
if #held >= A.most then return outcome('too_many') end

local home = key('pep:' .. A.pep)
local n, seq = publish('pep', A.pep, '0', nil, false, { status = 'active' })
redis.call('SADD', key('peps'), A.pep)
redis.call('HSET', home, 'id', A.pep, 'name', A.name, 'scopes', A.scopes, 'th', A.digest, 'rate', A.rate,
  'created', int(NOW), 'exp', int(NOW + A.ttl), 'rv', seq)
audit('pep.created', A.pep, nil, { name = A.name, scopes = A.scopes, rate = A.rate, expires = int(NOW + A.ttl) })
return remember({ o = 'created', p = pep(A.pep), n = n })
