-- standalone
-- Read only: number of users and unexpired invitations per role. KEYS: accounts of one partition. ARGV: roles (JSON
-- list), users to read, cursor in the first account, 'others' to count all roles but these. After that many users it
-- returns the position for the next call: the account's index in KEYS and the cursor in it (0: at its beginning). So a
-- large account does not make a call long.
local listed, counts, budget, cursor, others = {}, {}, tonumber(ARGV[2]), ARGV[3], ARGV[4] == 'others'
for _, role in ipairs(cjson.decode(ARGV[1])) do listed[role] = true end
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))

local function look(home)
  budget = budget - 1
  local role = redis.call('HGET', home, 'role')
  if role and (listed[role] or false) ~= others then counts[role] = (counts[role] or 0) + 1 end
end

local function reply(place, at)
  local held = {}
  for role, count in pairs(counts) do held[#held + 1] = { role, count } end
  return cjson.encode({ o = 'held', held = held, place = place, cursor = at })
end

for place, account in ipairs(KEYS) do
  if budget <= 0 then return reply(place, '0') end
  if cursor == '0' then
    for _, uid in ipairs(redis.call('ZRANGEBYSCORE', account .. ':inv', '(' .. now, '+inf')) do
      look(account .. ':i:' .. uid)
    end
  end
  repeat -- at least one page, so that every call advances
    local page = redis.call('SSCAN', account .. ':members', cursor, 'COUNT', 500)
    cursor = page[1]
    for _, uid in ipairs(page[2]) do look(account .. ':u:' .. uid) end
    if budget <= 0 and cursor ~= '0' then return reply(place, cursor) end
  until cursor == '0'
end
return reply(0, '0')
