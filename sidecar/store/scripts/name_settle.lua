-- standalone
-- KEYS[1]: names. ARGV: folded name, account id, 'keep', 'free', or 'give' and the id of the one whose it is. Only the one
-- who holds the claim settles it.
local held = redis.call('HGET', KEYS[1], ARGV[1])
local mine = held and (held == ARGV[2] or string.match(held, '^%S+') == ARGV[2])
if mine and ARGV[3] == 'keep' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
if mine and ARGV[3] == 'give' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[4]) end
if mine and ARGV[3] == 'free' then redis.call('HDEL', KEYS[1], ARGV[1]) end
return cjson.encode({ o = mine and 'settled' or 'not_mine' })
