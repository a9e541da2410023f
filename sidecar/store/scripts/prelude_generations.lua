-- Functions of the scripts about generations of the policy, which belong to no account.
-- KEYS: generations (zset: id -> order), log of events outside all accounts. ARGV[1]: arguments, JSON.
local SEEN, LOG = KEYS[1], KEYS[2]
local A = cjson.decode(ARGV[1])
local KEEP, KEEP_TURNS, MAX_CHANGES = 10000, 200, 500

local function int(number) return string.format('%.0f', number) end

local NOW
do
  local time = redis.call('TIME')
  NOW = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function hash(name)
  local flat, fields = redis.call('HGETALL', name), {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

-- A write repeated under its request id, because the reply was lost, gets the same reply and writes nothing.
local function remembered() return redis.call('GET', SEEN .. ':rid:' .. A.rid) end

local function remember(fields)
  local text = cjson.encode(fields)
  redis.call('SET', SEEN .. ':rid:' .. A.rid, text, 'PX', 600000)
  return text
end

-- Add a numbered entry to a stream. A failure restores the counter, so that the numbers have no gaps (R32, R51).
local function add_numbered(counter, number, ...)
  local added = redis.pcall('XADD', ...)
  if type(added) == 'table' and added.err then
    redis.pcall('SET', counter, int(tonumber(number) - 1))
    error(added.err)
  end
end

local function audit(action, before, after)
  local seq = int(redis.call('INCR', LOG .. ':rows'))
  add_numbered(LOG .. ':rows', seq, LOG, seq .. '-0', 'action', action, 'actor', '', 'target', '',
    'before', cjson.encode(before), 'after', cjson.encode(after), 'addr', A.sidecar, 'req', '', 't', int(NOW))
end

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

-- Record an activation (R25): of the newest generation, a new one, or an earlier one. The last two are audited, and
-- every one with `facts`, the audited state after it. A restart with an earlier generation does not make it the newest,
-- because others may serve a newer one.
local function record_generation(facts)
  for _, role in ipairs(A.roles) do redis.call('SADD', SEEN .. ':roles', role) end
  local newest = redis.call('ZREVRANGE', SEEN, 0, 0)[1]
  local known = redis.call('ZSCORE', SEEN, A.id)
  local done = { o = 'current', newest = newest or '' }
  if newest ~= A.id then done.o = known and 'back' or 'new' end
  if done.o ~= 'current' or A.forced or facts then
    local action = A.forced and 'policy.forced' or (done.o == 'back' and 'policy.reverted' or 'policy.activated')
    audit(action, { generation = newest or '' }, facts or { generation = A.id })
  end
  -- The turns of the newest generation, in order. Before its score, so that a repeated call adds no second turn.
  local becomes_newest = newest ~= A.id and (not known or not A.start)
  local turn = becomes_newest and A.id or newest
  local last = redis.call('XREVRANGE', SEEN .. ':turns', '+', '-', 'COUNT', 1)[1]
  if turn and not (last and last[2][2] == turn) then
    redis.call('XADD', SEEN .. ':turns', 'MAXLEN', KEEP_TURNS, '*', 'generation', turn, 't', int(NOW),
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
  return done
end

-- Generations in the store -----------------------------------------------------------------------------------------
-- KEYS[3]: the partition's feed. KEYS[4]: its sidecars. Codes are HMACs under the pepper, made by the caller.
local FEED, SIDE = KEYS[3], KEYS[4]
local ADMIN = 'account-administrator'
local MAX_USERS = 200000

-- Keep the files of a generation: ARGV[2] and following are the chunks of its bytes.
local function keep_files(id)
  local home = SEEN .. ':g:' .. id
  redis.call('DEL', home)
  for part = 2, #ARGV do redis.call('HSET', home, int(part - 2), ARGV[part]) end
  redis.call('HSET', home, 'parts', int(#ARGV - 1))
end

-- Remove the files of a candidate, unless the generation was ever active.
local function drop_files(id)
  if redis.call('HEXISTS', SEEN .. ':applied', id) == 0 then redis.call('DEL', SEEN .. ':g:' .. id) end
end

-- Return the code of the feed's next revision; nil if the feed has moved beyond the revisions with codes.
local function next_code()
  local n = tonumber(redis.call('GET', FEED .. ':n') or '0') + 1
  return A.codes[n - tonumber(A.first) + 1], n
end

-- Switch to a generation at revision `n`. R51: the event precedes the record, which every follower verifies.
local function switch(to, n, code)
  local active, was = SEEN .. ':active', redis.call('HGET', SEEN .. ':active', 'id')
  if was then redis.call('HSET', active, 'id', was) end
  local number = int(redis.call('INCR', FEED .. ':n'))
  add_numbered(FEED .. ':n', number, FEED, 'MAXLEN', '~', 10000, '*', 'n', number, 'k', 'policy', 'a', '', 'u', '',
    'tv', '0', 's', '0', 'ack', '1', 'r', '', 'st', '', 'pw', '0', 'g', to.id, 'd', to.digest, 'c', to.counter,
    'sig', to.signature, 'by', to.by, 'note', to.note, 'code', code)
  redis.call('HSET', active, 'id', to.id, 'digest', to.digest, 'n', int(n), 'counter', to.counter,
    'signature', to.signature, 'by', to.by, 'note', to.note, 't', int(NOW), 'code', code)
  redis.call('XADD', SEEN .. ':history', '*', 'id', to.id, 'digest', to.digest, 'n', int(n), 'counter', to.counter,
    'signature', to.signature, 'by', to.by, 'note', to.note, 't', int(NOW), 'code', code)
  redis.call('HSET', SEEN .. ':applied', to.id, int(n))
end

-- Return the state of each sidecar that a candidate waits for: [id, state, reason]. State: ready, rejected or waiting for
-- the live ones; silent for one whose lease ran out without a sign-off (reason: seconds since then). A registration lost
-- in a fail-over is silent too (R42). `without`: silent ones to pass by, as a set.
local function readiness(candidate, without)
  local found = {}
  for _, id in ipairs(redis.call('HKEYS', SIDE .. ':told')) do
    local ends = tonumber(redis.call('ZSCORE', SIDE, id) or '0')
    if ends > NOW then
      local mark = redis.call('HGET', SEEN .. ':marks', id)
      local its = mark and cjson.decode(mark) or {}
      if its.attempt ~= candidate.attempt or its.id ~= candidate.id then its = { state = 'waiting', reason = '' } end
      found[#found + 1] = { id, its.state, its.reason }
    else
      local seconds = ends > 0 and int(math.floor((NOW - ends) / 1000)) or ''
      found[#found + 1] = { id, without[id] and 'passed' or 'silent', seconds }
    end
  end
  return found
end
