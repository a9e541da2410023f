-- standalone
-- Settle a claim, if this account holds it. KEYS[1]: names. ARGV: folded name, account id, and 'keep', 'free', or
-- 'give' with the id of the owner.
local held = redis.call('HGET', KEYS[1], ARGV[1])
local mine = held and (held == ARGV[2] or string.match(held, '^%S+') == ARGV[2])
if mine and ARGV[3] == 'keep' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
if mine and ARGV[3] == 'give' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[4]) end
if mine and ARGV[3] == 'free' then redis.call('HDEL', KEYS[1], ARGV[1]) end
return cjson.encode({ o = mine and 'settled' or 'not_mine' })
