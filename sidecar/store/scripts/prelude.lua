-- Functions of all account scripts. KEYS: the partition's feed, the account. ARGV[1]: the arguments, JSON.
-- All names are local, because a global breaks every later script of the server.
-- Times are milliseconds of Redis' own clock, so that all sidecars count seats and expiries alike.
local FEED, ACCT = KEYS[1], KEYS[2]
local A = cjson.decode(ARGV[1])
local ADMIN = 'account-administrator'
local MAX_SESSIONS = 20
local FEED_LENGTH = 10000
local REMEMBER_MS = 600000
local IDEMPOTENT_MS = 86400000
local MAX_IDEMPOTENT = 1000
local KEPT_MS = 2592000000 -- 30 days for which an expired invitation is listed
local AHEAD_MS = 1000
local LONGEST_COUNTS_MS = 604800000 -- a new factor counts after at most 7 days

local function int(number) return string.format('%.0f', number) end

local NOW
do
  local time = redis.call('TIME')
  NOW = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function key(name) return ACCT .. ':' .. name end

local function hash(name)
  local flat, fields = redis.call('HGETALL', name), {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

-- Every reply carries the feed's count: live/direct_reads.py rejects replies of a store behind the applied changes.
local function answer(fields)
  fields.feed = redis.call('GET', FEED .. ':n') or '0'
  return cjson.encode(fields)
end
local function outcome(code) return answer({ o = code }) end

-- A write repeated under its request id, because the reply was lost, gets the same reply and writes nothing.
local function remembered()
  return A.rid and redis.call('GET', key('rid:' .. A.rid))
end

local function remember(fields)
  local text = answer(fields)
  if A.rid then redis.call('SET', key('rid:' .. A.rid), text, 'PX', REMEMBER_MS) end
  return text
end

-- R13: return the stored reply of an Idempotency-Key, or the rejection of another body; nil for an unused key.
local function replayed()
  local held = A.idem and redis.call('HMGET', key('idem:' .. A.idem.key), 'body', 'answer')
  if not held or not held[1] then return nil end
  if held[1] ~= A.idem.body then return outcome('idempotency_mismatch') end
  return held[2]
end

-- Keep the reply for one day, and the newest MAX_IDEMPOTENT per account, so that no client can fill the store.
local function remember_idempotent(fields)
  if not A.idem then return end
  local kept = key('idems')
  fields.replayed = true
  redis.call('HSET', key('idem:' .. A.idem.key), 'body', A.idem.body, 'answer', answer(fields))
  fields.replayed = nil
  redis.call('PEXPIRE', key('idem:' .. A.idem.key), IDEMPOTENT_MS)
  redis.call('ZADD', kept, int(NOW), A.idem.key)
  redis.call('PEXPIRE', kept, IDEMPOTENT_MS)
  redis.call('ZREMRANGEBYSCORE', kept, '-inf', int(NOW - IDEMPOTENT_MS))
  for _, oldest in ipairs(redis.call('ZRANGE', kept, 0, -MAX_IDEMPOTENT - 1)) do
    redis.call('DEL', key('idem:' .. oldest))
    redis.call('ZREM', kept, oldest)
  end
end

-- R11: report whether the actor is unchanged since authorization. An operator (no uid) and a user authenticated by a
-- secret such as a refresh token (no role) are not compared.
local function actor_holds()
  local by = A.by
  if by.uid == '' or by.role == '' then return true end
  local now = redis.call('HMGET', key('u:' .. by.uid), 'role', 'tv', 'st', 'hold')
  if now[1] ~= by.role or now[2] ~= by.tv or now[3] ~= 'active' or now[4] then return false end
  if redis.call('HGET', ACCT, 'st') ~= 'active' then return false end
  if by.sid == '' then return true end
  local ends = redis.call('ZSCORE', key('us:' .. by.uid), by.sid)
  return ends and tonumber(ends) > NOW
end

-- Index of the partition's accounts, deleted ones included, for a recovery (R48).
local function index_account()
  redis.call('SADD', (string.gsub(FEED, ':feed$', ':accounts')), A.acct)
end

local function account_lives()
  local status = redis.call('HGET', ACCT, 'st')
  return status and status ~= 'deleted'
end

-- Invitations ------------------------------------------------------------------------------------------------------
local function invited(uid)
  local ends = redis.call('ZSCORE', key('inv'), uid)
  return ends and tonumber(ends) > NOW
end

-- Report an expired invitation: it holds no seat and its link is invalid. It can be renewed, replaced or removed.
local function expired(uid)
  local ends = redis.call('ZSCORE', key('inv'), uid)
  return ends and tonumber(ends) <= NOW and tonumber(ends) > NOW - KEPT_MS
end

-- The invitation's hash expires one minute after it is no longer listed.
local function keep_invitation(uid, ends)
  redis.call('ZADD', key('inv'), int(ends), uid)
  redis.call('PEXPIREAT', key('i:' .. uid), int(ends + KEPT_MS + 60000))
end

local function drop_invitation(uid)
  local email = redis.call('HGET', key('i:' .. uid), 'em')
  if email then
    if redis.call('HGET', key('em'), email) == uid then redis.call('HDEL', key('em'), email) end
  else -- the invitation's hash has expired already
    local flat = redis.call('HGETALL', key('em'))
    for i = 1, #flat, 2 do
      if flat[i + 1] == uid then redis.call('HDEL', key('em'), flat[i]) end
    end
  end
  redis.call('DEL', key('i:' .. uid))
  redis.call('ZREM', key('inv'), uid)
end

local function used_seats()
  return redis.call('SCARD', key('members')) + #redis.call('ZRANGEBYSCORE', key('inv'), '(' .. int(NOW), '+inf')
end

local function seats()
  local pending, list = redis.call('ZRANGEBYSCORE', key('inv'), '(' .. int(NOW), '+inf', 'WITHSCORES'), {}
  for i = 1, #pending, 2 do
    list[#list + 1] = { pending[i], redis.call('HGET', key('i:' .. pending[i]), 'em') or '', pending[i + 1] }
  end
  return { cap = redis.call('HGET', ACCT, 'cap'), members = redis.call('SCARD', key('members')), inv = list }
end

-- Records ----------------------------------------------------------------------------------------------------------
-- Return the live sessions as a flat list: id, end, last proof, proofs. A session without these facts has proven nothing.
local function live_facts(uid)
  local flat, found = redis.call('ZRANGEBYSCORE', key('us:' .. uid), '(' .. int(NOW), '+inf', 'WITHSCORES'), {}
  for i = 1, #flat, 2 do
    local facts = redis.call('HMGET', key('s:' .. flat[i]), 'at', 'by')
    for _, word in ipairs({ flat[i], flat[i + 1], facts[1] or '0', facts[2] or '' }) do found[#found + 1] = word end
  end
  return found
end

-- Return the confirmed factors as a flat list: id, ms from which it counts. R52: a later one than the longest wait is from
-- a clock that ran ahead. Set it once, so that it passes.
local function listed_factors(uid)
  local flat = redis.call('HGETALL', key('factors:' .. uid))
  for i = 2, #flat, 2 do
    if tonumber(flat[i]) > NOW + LONGEST_COUNTS_MS + AHEAD_MS then
      flat[i] = int(NOW + LONGEST_COUNTS_MS)
      redis.pcall('HSET', key('factors:' .. uid), flat[i - 1], flat[i])
    end
  end
  return flat
end

-- Return the record in the form of record_of() in codec.py; nil for an unknown user. Sessions are a flat list, because
-- an empty table has no single form in JSON.
local function record(uid)
  local fields = hash(key('u:' .. uid))
  if fields.st then
    fields.pw = nil
    fields.ss = live_facts(uid)
    fields.fa = listed_factors(uid)
  else
    local holds = invited(uid)
    if not holds and not expired(uid) then return nil end
    fields = hash(key('i:' .. uid))
    if not fields.em then return nil end
    fields.th, fields.st, fields.tv = nil, holds and 'invited' or 'expired', '0'
  end
  -- R52: a change time from a clock that ran ahead would revoke external tokens until then. Set it to now.
  if fields.tvt and tonumber(fields.tvt) > NOW + AHEAD_MS then
    fields.tvt = int(NOW)
    redis.pcall('HSET', key('u:' .. uid), 'tvt', fields.tvt)
  end
  fields.id = uid
  local its = redis.call('HMGET', ACCT, 'st', 'labels')
  fields.acst, fields.labels = its[1], its[2] or nil
  return fields
end

-- Return a PEP key; nil for an unknown one.
local function pep(id)
  local fields = hash(key('pep:' .. id))
  if not fields.id then return nil end
  fields.acst = redis.call('HGET', ACCT, 'st')
  return fields
end

-- Remove the links of a removed user to external subjects, forbidden ones included (R10).
local function drop_links(uid)
  local flat = redis.call('HGETALL', key('links'))
  for i = 1, #flat, 2 do
    if flat[i + 1] == uid or flat[i + 1] == '-' .. uid then redis.call('HDEL', key('links'), flat[i]) end
  end
end

-- R48: a user held for a review does not count as administrator.
local function settle_admin(uid, role, status)
  local counts = role == ADMIN and status == 'active' and redis.call('HEXISTS', key('u:' .. uid), 'hold') == 0
  redis.call(counts and 'SADD' or 'SREM', key('admins'), uid)
end

-- Report whether the user is the only active administrator of the account.
local function is_last_admin(uid)
  return redis.call('SISMEMBER', key('admins'), uid) == 1 and redis.call('SCARD', key('admins')) <= 1
end

-- Report whether another member is held (R48), who can become an administrator by a review.
local function another_waits(uid)
  for _, other in ipairs(redis.call('SMEMBERS', key('members'))) do
    if other ~= uid and redis.call('HEXISTS', key('u:' .. other), 'hold') == 1 then return true end
  end
  return false
end

-- Report whether the account would have no administrator, and no other held member, without this user as one.
local function leaves_no_admin(uid)
  return redis.call('SCARD', key('admins')) == 0 and not another_waits(uid)
end

-- Sessions ---------------------------------------------------------------------------------------------------------
local function end_session(uid, sid)
  redis.call('DEL', key('s:' .. sid))
  return redis.call('ZREM', key('us:' .. uid), sid) == 1
end

local function end_sessions(uid, keep)
  local ended = {}
  for _, sid in ipairs(redis.call('ZRANGE', key('us:' .. uid), 0, -1)) do
    if sid ~= keep and end_session(uid, sid) then ended[#ended + 1] = sid end
  end
  return ended
end

local function oldest_session(uid)
  local flat, oldest, least = redis.call('ZRANGE', key('us:' .. uid), 0, -1, 'WITHSCORES'), nil, nil
  for i = 1, #flat, 2 do
    local born = tonumber(redis.call('HGET', key('s:' .. flat[i]), 'q') or '0')
    local rank = { tonumber(flat[i + 1]), born }
    if not least or rank[1] < least[1] or (rank[1] == least[1] and rank[2] < least[2]) then
      oldest, least = flat[i], rank
    end
  end
  return oldest
end

local function keep_sessions_until_last(uid)
  local last = redis.call('ZREVRANGE', key('us:' .. uid), 0, 0, 'WITHSCORES')
  if last[2] then redis.call('PEXPIREAT', key('us:' .. uid), int(tonumber(last[2]))) end
end

local function live_sessions(uid)
  return #redis.call('ZRANGEBYSCORE', key('us:' .. uid), '(' .. int(NOW), '+inf')
end

-- Proofs of a session: words "method:factor:ms" in its field `by`, at most one per method and factor. `at`: the last
-- proof that counts as a sign-in. `link`: the session began by a link that only a mail contained (R37).
local FACTORS = { totp = true, passkey = true, ['recovery-code'] = true }

-- Report whether the user has a confirmed second factor.
local function has_factor(uid)
  return redis.call('EXISTS', key('factors:' .. uid)) == 1
end

-- Return the text with the proofs { method, factor } of now; older proofs of the same method and factor are replaced.
local function add_proofs(text, proofs)
  local words, fresh = {}, {}
  for _, proof in ipairs(proofs) do fresh[proof[1] .. ':' .. proof[2]] = true end
  for word in string.gmatch(text, '%S+') do
    if not fresh[string.match(word, '^(.*):%d+$')] then words[#words + 1] = word end
  end
  for _, proof in ipairs(proofs) do words[#words + 1] = proof[1] .. ':' .. proof[2] .. ':' .. int(NOW) end
  return table.concat(words, ' ')
end

-- Report whether the proofs set the time of the sign-in. In a session that exists, only a factor does, if the user has one.
local function renews_sign_in(uid, proofs, opens)
  for _, proof in ipairs(proofs) do
    if FACTORS[proof[1]] then return true end
  end
  return #proofs > 0 and (opens or not has_factor(uid))
end

-- Return the facts of a session, for the one that replaces it.
local function facts_of(sid)
  local held = redis.call('HMGET', key('s:' .. sid), 'at', 'by', 'link')
  return { at = held[1] or '0', by = held[2] or '', link = held[3] }
end

-- Report whether the session is live, of this user and of the user's current epoch.
local function session_lives(uid, sid, epoch)
  local ends, held = redis.call('ZSCORE', key('us:' .. uid), sid), redis.call('HMGET', key('s:' .. sid), 'u', 'tv')
  return ends and tonumber(ends) > NOW and held[1] == uid and held[2] == epoch
end

-- Add proofs of now to a live session. Its end is unchanged (R41). The caller has published the change.
local function raise_session(uid, sid, proofs)
  local facts = facts_of(sid)
  redis.call('HSET', key('s:' .. sid), 'by', add_proofs(facts.by, proofs),
    'at', renews_sign_in(uid, proofs) and int(NOW) or facts.at)
end

-- Return the text without the proofs of a factor, and the time of the newest proof left; a second factor precedes others.
local function without_factor(text, method, factor)
  local words, newest, newest_factor = {}, 0, 0
  for word in string.gmatch(text, '%S+') do
    local its_method, its_factor, at = string.match(word, '^(.-):(.*):(%d+)$')
    if its_method ~= method or its_factor ~= factor then
      words[#words + 1] = word
      newest = math.max(newest, tonumber(at))
      if FACTORS[its_method] then newest_factor = math.max(newest_factor, tonumber(at)) end
    end
  end
  return table.concat(words, ' '), newest_factor > 0 and newest_factor or newest
end

-- Take the proofs of a removed factor out of every session of the user. The time of the sign-in goes back to a proof that
-- is left. `factor`: '' for a method without ids. The caller has published the change, with an ack.
local function drop_factor(uid, method, factor)
  for _, sid in ipairs(redis.call('ZRANGE', key('us:' .. uid), 0, -1)) do
    local facts = facts_of(sid)
    local left, newest = without_factor(facts.by, method, factor)
    if left ~= facts.by then
      redis.call('HSET', key('s:' .. sid), 'by', left, 'at', int(math.min(tonumber(facts.at), newest)))
    end
  end
end

-- R15: at most MAX_SESSIONS; ends the session that expires first. Returns ended sessions, whose event needs an ack.
-- session.proofs: proofs of now. `former`: facts of the replaced session, which the new one inherits.
local function open_session(uid, epoch, session, former)
  local ended, home = {}, key('u:' .. uid)
  if session.browser then
    redis.call('HDEL', home, 'api')
  elseif redis.call('HEXISTS', home, 'seen') == 0 then
    redis.call('HSET', home, 'api', '1') -- no session of this user began in a browser so far
  end
  redis.call('ZREMRANGEBYSCORE', key('us:' .. uid), '-inf', int(NOW))
  while redis.call('ZCARD', key('us:' .. uid)) >= MAX_SESSIONS do
    local oldest = oldest_session(uid)
    end_session(uid, oldest)
    ended[#ended + 1] = oldest
  end
  local last = NOW + session.abs
  local ends = math.min(NOW + session.ttl, last)
  redis.call('HSET', key('s:' .. session.id), 'u', uid, 'tv', epoch, 'c', '0', 'ct', int(NOW), 'abs', int(last),
    'created', int(NOW), 'addr', session.addr, 'agent', session.agent,
    'q', int(redis.call('HINCRBY', ACCT, 'born', 1)),
    'at', renews_sign_in(uid, session.proofs, not former) and int(NOW) or former and former.at or '0',
    'by', add_proofs(former and former.by or '', session.proofs))
  if session.link or (former and former.link) then redis.call('HSET', key('s:' .. session.id), 'link', '1') end
  redis.call('PEXPIREAT', key('s:' .. session.id), int(ends))
  redis.call('ZADD', key('us:' .. uid), int(ends), session.id)
  keep_sessions_until_last(uid)
  return ended
end

-- Changes ----------------------------------------------------------------------------------------------------------
-- Add a numbered entry to a stream. A failure restores the counter, so that the numbers have no gaps.
local function add_numbered(entry, take_back)
  local reply = redis.pcall(unpack(entry))
  if type(reply) == 'table' and reply.err then
    redis.pcall(unpack(take_back))
    error(reply.err)
  end
end

-- R48: return the current role and status, for the journals of the sidecars.
local function made(kind, id)
  if kind == 'pep' then return '', redis.call('EXISTS', key('pep:' .. id)) == 1 and 'active' or 'revoked' end
  if kind ~= 'user' then return '', kind == 'removed' and 'removed' or redis.call('HGET', ACCT, 'st') or '' end
  local now = redis.call('HMGET', key('u:' .. id), 'role', 'st', 'hold')
  if not now[2] then
    now = redis.call('HMGET', key('i:' .. id), 'role', 'by', 'hold')
    now[2] = 'invited'
  end
  if now[3] then -- the acknowledged values, so that a lost hold is set again
    local hold = cjson.decode(now[3])
    return hold.role, hold.status
  end
  return now[1] or '', now[2]
end

-- Count a change of the account without an event. Only while no sidecar has copies.
local function stamp(name)
  redis.call('HSET', name, 'rv', int(redis.call('HINCRBY', ACCT, 'seq', 1)))
end

local function send(kind, uid, epoch, seq, ack, after)
  local role, status = made(kind, uid)
  if after then role, status = after.role or role, after.status or status end
  local n = redis.call('INCR', FEED .. ':n')
  local entry = { 'XADD', FEED, 'MAXLEN', '~', FEED_LENGTH, '*', 'n', int(n), 'k', kind, 'a', A.acct, 'u', uid,
    'tv', epoch, 's', seq, 'ack', ack and '1' or '0', 'r', role, 'st', status,
    'pw', after and after.password and '1' or '0' }
  if after and after.factors then entry[#entry + 1], entry[#entry + 2] = 'fa', '1' end
  add_numbered(entry, { 'SET', FEED .. ':n', int(n - 1) })
  if ack then redis.call('HSET', ACCT, 'acked', int(n)) end
  return int(n)
end

-- Publish the account's next change: send its event and stamp the record `name` with its number.
-- R51: called before the first write of the change, so that a script that fails later leaves an event, and copies are
-- dropped. Current values are rewritten first: a missing permission or a key of another type fails without an event.
-- Returns the numbers of the event and of the change, for new records. `after`: role and status after the change, where
-- they differ from the current ones, and whether the password or the second factors change (R48).
local function publish(kind, uid, epoch, name, ack, after)
  local before = redis.call('HGET', ACCT, 'seq')
  if before then redis.call('HSET', ACCT, 'seq', before) end
  local stamped = name and redis.call('HGET', name, 'rv')
  if stamped then redis.call('HSET', name, 'rv', stamped) end
  local seq = int(tonumber(before or '0') + 1)
  local n = send(kind, uid, epoch, seq, ack, after)
  redis.call('HSET', ACCT, 'seq', seq)
  if name then redis.call('HSET', name, 'rv', seq) end
  return n, seq
end

-- Reply that no change was needed. `n`: the account's last change with an ack, possibly not applied everywhere yet. The
-- caller waits for it before it responds.
local function already(fields)
  fields.n = redis.call('HGET', ACCT, 'acked') or '0'
  return answer(fields)
end

-- Return the name and the e-mail of a member or an invited user; nothing for another id.
local function person(uid)
  if string.sub(uid, 1, 4) ~= 'usr_' then return nil, nil end
  local found = redis.call('HMGET', key('u:' .. uid), 'name', 'em')
  if not found[2] then found = redis.call('HMGET', key('i:' .. uid), 'name', 'em') end
  return found[1], found[2]
end

-- Return the name of a user, or the e-mail of a user without one; '' for another id.
local function label(uid)
  local name, email = person(uid)
  return name and name ~= '' and name or email or ''
end

-- Add name and e-mail of a user to an audit row, as of the change. `last`: last state of a removed user.
local function add_person(row, kind, uid, last)
  local name, email = person(uid)
  if not email and last then name, email = last.name, last.email end
  if not email or email == '' then return end
  for _, word in ipairs({ kind .. '_name', name or '', kind .. '_email', email }) do row[#row + 1] = word end
end

-- R32: write an audit row. Rows are numbered without gaps, by the account's counter; the number is the entry's id. A
-- row contains no secret. `source` replaces the address of a change that no request made.
local function audit(action, target, before, after, actor, source)
  actor = actor or A.by.uid
  local people = {}
  add_person(people, 'actor', actor, actor == target and before or nil)
  add_person(people, 'target', target, before)
  local seq = int(redis.call('HINCRBY', ACCT, 'rows', 1))
  local row = { 'XADD', key('log'), seq .. '-0', 'action', action, 'actor', actor, 'target', target,
    'before', before and cjson.encode(before) or '', 'after', after and cjson.encode(after) or '',
    'addr', source or A.by.addr, 'req', source and '' or A.by.req, 't', int(NOW) }
  for _, word in ipairs(people) do row[#row + 1] = word end
  add_numbered(row, { 'HINCRBY', ACCT, 'rows', -1 })
  redis.call('SADD', FEED .. ':open', key('log')) -- until an exporter has sealed it
end

-- Process expired invitations before a change that depends on them: audit each once, and drop it after KEPT_MS. Expiry
-- is not a change itself, so its row is written at the next change and contains the time of expiry.
local function sweep()
  local swept = math.min(tonumber(redis.call('HGET', ACCT, 'swept') or '0'), NOW)
  local found = redis.call('ZRANGEBYSCORE', key('inv'), '(' .. int(swept), int(NOW), 'WITHSCORES')
  for i = 1, #found, 2 do
    local was = redis.call('HMGET', key('i:' .. found[i]), 'em', 'role')
    audit('invitation.expired', found[i], { status = 'invited', email = was[1] or '', role = was[2] or '' },
      { status = 'expired', expired = found[i + 1] }, '', 'expiry')
  end
  if #found > 0 then redis.call('HSET', ACCT, 'swept', int(NOW)) end
  for _, uid in ipairs(redis.call('ZRANGEBYSCORE', key('inv'), '-inf', int(NOW - KEPT_MS))) do drop_invitation(uid) end
end
