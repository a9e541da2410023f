-- include: factors
-- Claim one attempt before its answer is compared (R36): of the challenge, and of the user if it is a code. Claimed
-- first, so that concurrent attempts count.
local before = remembered()
if before then return before end
local place, counts = key('ch:' .. A.challenge.id), key('wc:' .. A.uid)
local now = redis.call('HMGET', place, 'used', 'tries')
if now[1] or tonumber(now[2] or '0') >= MAX_TRIES then return outcome('spent') end
local wrong = 0
if A.code then
  local held = redis.call('HMGET', counts, 'n', 'until')
  wrong = tonumber(held[1] or '0')
  local ends = tonumber(held[2] or '0')
  if ends > NOW + LONGEST_WAIT_MS then -- R52: from a clock that ran ahead. Set it once, so that it passes.
    ends = NOW + LONGEST_WAIT_MS
    redis.call('HSET', counts, 'until', int(ends))
  end
  if ends > NOW then return answer({ o = 'limited', wait = int(ends - NOW) }) end
  wrong = wrong + 1
  local wait = wrong >= FREE_CODES and math.min(60000 * 2 ^ math.min(wrong - FREE_CODES, 6), LONGEST_WAIT_MS) or 0
  redis.call('HSET', counts, 'n', int(wrong), 'until', int(wait > 0 and NOW + wait or 0))
  redis.call('PEXPIRE', counts, int(KEPT_MS))
end
redis.call('HINCRBY', place, 'tries', 1)
redis.call('PEXPIRE', place, int(A.challenge.left))
return remember({ o = 'claimed', wrong = int(wrong) })
