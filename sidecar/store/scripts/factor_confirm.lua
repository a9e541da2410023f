-- include: factors
-- Compare and set: a pending factor becomes one of the user's. It is a proof of the session that confirms it. The first
-- one brings recovery codes, and counts for needs after A.wait ms, unless the session began by a mailed link (R37). A
-- later one counts no earlier than the earliest.
local before = remembered()
if before then return before end
local pending = hash(key('fp:' .. A.id))
if pending.u ~= A.uid then return outcome('gone') end
if not actor_holds() then return outcome('actor_changed') end
local factors = factors_of(A.uid)
if count_factors(factors) >= MAX_FACTORS then return outcome('too_many') end
local home, first = key('u:' .. A.uid), next(factors) == nil
local counts = counts_from(factors)
if first then
  counts = redis.call('HEXISTS', key('s:' .. A.by.sid), 'link') == 1 and NOW or NOW + A.wait
end
counts = int(math.max(counts, NOW))

local n = publish('user', A.uid, redis.call('HGET', home, 'tv'), home, true, { factors = true })
redis.call('HSET', key('f:' .. A.id), 'u', A.uid, 'sealed', A.sealed or pending.sealed, 'name', A.name,
  'created', int(NOW), 'used', int(NOW), A.step and 'step' or 'count', A.step or A.count)
if first then keep_codes(A.uid, A.codes) end
redis.call('HSET', key('factors:' .. A.uid), A.id, counts)
redis.call('DEL', key('fp:' .. A.id))
raise_session(A.uid, A.by.sid, { { string.match(A.id, '^%a+'), A.id } })
audit('factor.added', A.uid, nil, { factor = A.id, name = A.name, counts_from = counts })
return remember({ o = 'confirmed', r = record(A.uid), n = n, first = first and '1' or '0' })
