-- Functions of the scripts about second factors, after prelude.lua. Included by the line `-- include: factors`.
-- Keys below the account: factors:UID, confirmed factor -> ms from which it counts for needs (R37). f:ID, one factor with
-- its sealed secret. fp:ID, one that waits for its confirmation. rc:UID, digests of unused recovery codes. ch:NONCE, use
-- and failed attempts of a challenge. wc:UID, wrong codes in a row (R36).
local MAX_FACTORS = 20
local MAX_TRIES = 5
local FREE_CODES = 10
local LONGEST_WAIT_MS = 3600000
local STEP_MS = 30000
local AHEAD_STEPS = 10 -- more than two clocks may differ

local function factors_of(uid)
  return hash(key('factors:' .. uid))
end

-- Return the earliest time from which a factor counts; nil without factors.
local function counts_from(factors)
  local earliest
  for _, at in pairs(factors) do earliest = math.min(earliest or tonumber(at), tonumber(at)) end
  return earliest
end

local function count_factors(factors)
  local count = 0
  for _ in pairs(factors) do count = count + 1 end
  return count
end

-- Return why the proof is rejected, or nil. Writes nothing. A proof has: method, factor, and step (TOTP), count
-- (passkey) or digest (recovery code); challenge { id, ends }, unless it confirms a new factor.
local function rejected_proof(uid, proof)
  if proof.challenge and redis.call('HEXISTS', key('ch:' .. proof.challenge.id), 'used') == 1 then return 'spent' end
  if proof.method == 'recovery-code' then
    return redis.call('SISMEMBER', key('rc:' .. uid), proof.digest) == 0 and 'wrong' or nil
  end
  local held = redis.call('HMGET', key('f:' .. proof.factor), 'step', 'count')
  if redis.call('HEXISTS', key('factors:' .. uid), proof.factor) == 0 then return 'wrong' end
  if proof.method == 'totp' then
    if tonumber(held[1] or '-1') > NOW / STEP_MS + AHEAD_STEPS then return 'ahead' end
    return tonumber(proof.step) <= tonumber(held[1] or '-1') and 'replayed' or nil
  end
  local before, given = tonumber(held[2] or '0'), tonumber(proof.count)
  if (before > 0 or given > 0) and given <= before then return 'counter' end
end

-- Use a proof up, after the event and before the session: a script that fails between leaves a code used and no session.
local function use_proof(uid, proof)
  if proof.method == 'recovery-code' then
    redis.call('SREM', key('rc:' .. uid), proof.digest)
  else
    local field, value = 'count', proof.count
    if proof.method == 'totp' then field, value = 'step', proof.step end
    redis.call('HSET', key('f:' .. proof.factor), field, value, 'used', int(NOW))
  end
  if proof.challenge then
    redis.call('HSET', key('ch:' .. proof.challenge.id), 'used', '1')
    redis.call('PEXPIREAT', key('ch:' .. proof.challenge.id), int(NOW + tonumber(proof.challenge.left)))
  end
  if proof.method ~= 'passkey' then redis.call('DEL', key('wc:' .. uid)) end
end

-- Audit a passkey whose counter went back (R38): the credential may have been copied.
-- R52: a step later than now is from a clock that ran ahead. Set it once: the codes of this minute are refused.
local function reject_proof(uid, proof, reason)
  if reason == 'ahead' then
    redis.call('HSET', key('f:' .. proof.factor), 'step', int(math.floor(NOW / STEP_MS) + 1))
    return outcome('replayed')
  end
  if reason == 'counter' then audit('factor.counter_refused', uid, nil, { factor = proof.factor }, uid) end
  return outcome(reason)
end

-- Remove all factors of a user, with recovery codes and the count of wrong codes.
local function drop_factors(uid)
  for id in pairs(factors_of(uid)) do redis.call('DEL', key('f:' .. id)) end
  redis.call('DEL', key('factors:' .. uid), key('rc:' .. uid), key('wc:' .. uid))
end

-- Replace the recovery codes of a user by these digests.
local function keep_codes(uid, digests)
  redis.call('DEL', key('rc:' .. uid))
  redis.call('SADD', key('rc:' .. uid), unpack(digests))
end
