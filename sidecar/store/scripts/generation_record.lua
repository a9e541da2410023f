-- standalone
-- Record the activation of a generation in a sidecar (R25): the newest, a new one, or an earlier one. The last two are
-- audited. A restart with an earlier generation does not make it the newest, because others may serve a newer one.
-- KEYS: generations (zset: id -> order), log of events outside all accounts. ARGV[1]: arguments, JSON.
local SEEN, LOG = KEYS[1], KEYS[2]
local A = cjson.decode(ARGV[1])
local KEEP, KEEP_TURNS, MAX_CHANGES = 10000, 200, 500

local rid = SEEN .. ':rid:' .. A.rid
local before = redis.call('GET', rid)
if before then return before end

local function int(number) return string.format('%.0f', number) end
local time = redis.call('TIME')
local now = int(tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))

-- Actions per "role section" that differ between the newest generation and this one: [[role, section, before, after]].
-- Empty if its actions are unknown, or too many differ.
local function changes(newest)
  local stored = redis.call('GET', SEEN .. ':actions')
  local old = stored and cjson.decode(stored)
  if not old or not A.actions or old.generation ~= newest then return '' end
  local differing, found = {}, {}
  for cell, actions in pairs(A.actions) do
    if old.actions[cell] ~= actions then differing[#differing + 1] = cell end
  end
  for cell in pairs(old.actions) do
    if not A.actions[cell] then differing[#differing + 1] = cell end
  end
  if #differing > MAX_CHANGES then return '' end
  table.sort(differing)
  for _, cell in ipairs(differing) do
    local role, section = cell:match('^(%S+) (%S+)$')
    found[#found + 1] = { role, section, old.actions[cell] or '', A.actions[cell] or '' }
  end
  return #found == 0 and '[]' or cjson.encode(found)
end

for _, role in ipairs(A.roles) do redis.call('SADD', SEEN .. ':roles', role) end
local newest = redis.call('ZREVRANGE', SEEN, 0, 0)[1]
local known = redis.call('ZSCORE', SEEN, A.id)
local done = { o = 'current', newest = newest or '' }
if newest ~= A.id then done.o = known and 'back' or 'new' end
if done.o ~= 'current' or A.forced then
  local seq = int(redis.call('INCR', LOG .. ':rows'))
  local action = A.forced and 'policy.forced' or (done.o == 'back' and 'policy.reverted' or 'policy.activated')
  local added = redis.pcall('XADD', LOG, seq .. '-0', 'action', action, 'actor', '', 'target', '',
    'before', cjson.encode({ generation = newest or '' }), 'after', cjson.encode({ generation = A.id }),
    'addr', A.sidecar, 'req', '', 't', now)
  if type(added) == 'table' and added.err then -- restore the counter: rows have no gaps (R32)
    redis.pcall('SET', LOG .. ':rows', int(tonumber(seq) - 1))
    error(added.err)
  end
end
-- The turns of the newest generation, in order. Before its score, so that a repeated call adds no second turn.
local becomes_newest = newest ~= A.id and (not known or not A.start)
local turn = becomes_newest and A.id or newest
local last = redis.call('XREVRANGE', SEEN .. ':turns', '+', '-', 'COUNT', 1)[1]
if turn and not (last and last[2][2] == turn) then
  redis.call('XADD', SEEN .. ':turns', 'MAXLEN', KEEP_TURNS, '*', 'generation', turn, 't', now,
    'by', A.start and 'start' or 'edit', 'direction', becomes_newest and known and 'back' or 'forward',
    'before', becomes_newest and newest or '', 'changes', becomes_newest and changes(newest) or '')
end
if turn == A.id and A.assignable then -- the roles of the policy in force, for commands without its files
  redis.call('SET', SEEN .. ':current',
    cjson.encode({ generation = A.id, roles = A.roles, assignable = A.assignable }))
end
if turn == A.id and A.actions then -- after the turn, which compares with the actions of the generation before it
  redis.call('SET', SEEN .. ':actions', cjson.encode({ generation = A.id, actions = A.actions }))
end
if becomes_newest then -- after its row, because a known generation gets no second row
  redis.call('ZADD', SEEN, int(redis.call('INCR', SEEN .. ':n')), A.id)
  redis.call('ZREMRANGEBYRANK', SEEN, 0, -KEEP - 1)
end
local answer = cjson.encode(done)
redis.call('SET', rid, answer, 'PX', 600000)
return answer
