-- standalone, include: generations
-- Make the candidate active, at one revision of the feed. KEYS: generations, log, feed, sidecars. ARGV[1]: attempt, first,
-- codes, without (ids), unheld (roles without holders), id, roles, assignable, actions, sidecar.
-- Nothing changes unless every live sidecar is ready, and every silent one is passed by (R42).
local before = remembered()
if before then return before end
local candidate = hash(SEEN .. ':candidate')
if candidate.attempt ~= A.attempt or candidate.id ~= A.id then return cjson.encode({ o = 'superseded' }) end
if tonumber(candidate['until']) <= NOW then return cjson.encode({ o = 'expired' }) end
local held = redis.call('HGET', SEEN .. ':active', 'counter') or '0'
if tonumber(candidate.counter) <= tonumber(held) then return cjson.encode({ o = 'counter_behind', counter = held }) end

local without, passed = {}, {}
for _, id in ipairs(A.without) do without[id] = true end
local sidecars = readiness(candidate, without)
local ready, blocked = 0, false
for _, its in ipairs(sidecars) do
  if its[2] == 'ready' then ready = ready + 1
  elseif its[2] == 'passed' then passed[#passed + 1] = its[1]
  else blocked = true end
end
if blocked or ready == 0 then return cjson.encode({ o = 'not_ready', sidecars = sidecars }) end

-- R26: the administrator's role, and the roles of earlier generations that the candidate lacks. The caller has looked for
-- their holders in all partitions; the users of this partition are looked at once more.
local declared, unheld, gone, removes = {}, {}, {}, false
for _, role in ipairs(A.roles) do declared[role] = true end
for _, role in ipairs(A.unheld) do unheld[role] = true end
local administrator = false
for _, role in ipairs(A.assignable) do administrator = administrator or role == ADMIN end
if not administrator then return cjson.encode({ o = 'role_in_use', role = ADMIN }) end
for _, role in ipairs(redis.call('SMEMBERS', SEEN .. ':roles')) do
  if not declared[role] then
    if not unheld[role] then return cjson.encode({ o = 'roles_changed', role = role }) end
    gone[role], removes = true, true
  end
end
local function holder()
  local tag, budget = string.match(SEEN, '^(sc:{p%d+}:)'), MAX_USERS
  for _, account in ipairs(redis.call('SMEMBERS', tag .. 'accounts')) do
    local home = tag .. 'a:' .. account
    budget = budget - redis.call('SCARD', home .. ':members')
    if budget < 0 then return nil end
    for _, uid in ipairs(redis.call('SMEMBERS', home .. ':members')) do
      local role = redis.call('HGET', home .. ':u:' .. uid, 'role')
      if role and gone[role] then return role end
    end
    for _, uid in ipairs(redis.call('ZRANGEBYSCORE', home .. ':inv', '(' .. int(NOW), '+inf')) do
      local role = redis.call('HGET', home .. ':i:' .. uid, 'role')
      if role and gone[role] then return role end
    end
  end
end
local role = removes and holder()
if role then return cjson.encode({ o = 'role_in_use', role = role }) end

local code, n = next_code()
if not code then return cjson.encode({ o = 'moved' }) end
switch(candidate, n, code)
record_generation({ generation = A.id, revision = int(n), by = candidate.by, note = candidate.note,
  counter = candidate.counter, without = #passed > 0 and table.concat(passed, ' ') or nil })
redis.call('DEL', SEEN .. ':candidate', SEEN .. ':marks', SEEN .. ':shadow')
return remember({ o = 'active', n = int(n), passed = #passed > 0 and passed or nil })
