-- Set and remove labels of the account, with one event for all of its records. A.labels: pairs of name and value; a
-- value '' removes. The field has words "name=value", sorted, as in domain/labels.py. A.expected: the labels so far, for
-- a caller that has checked the change; with others nothing changes.
local before = remembered()
if before then return before end
if not account_lives() then return outcome('no_account') end
if not actor_holds() then return outcome('actor_changed') end

local was, held, names, words = redis.call('HGET', ACCT, 'labels') or '', {}, {}, {}
if A.expected and A.expected ~= was then return outcome('labels_differ') end
for name, value in string.gmatch(was, '(%S-)=(%S+)') do held[name] = value end
for _, pair in ipairs(A.labels) do held[pair[1]] = pair[2] ~= '' and pair[2] or nil end
for name in pairs(held) do names[#names + 1] = name end
if #names > A.most then return outcome('too_many') end
table.sort(names)
for _, name in ipairs(names) do words[#words + 1] = name .. '=' .. held[name] end
local text = table.concat(words, ' ')
if text == was then return already({ o = 'unchanged', a = hash(ACCT), seats = seats() }) end

local n = publish('account', '', '0', nil, true)
if text == '' then redis.call('HDEL', ACCT, 'labels') else redis.call('HSET', ACCT, 'labels', text) end
audit('account.labels', A.acct, { labels = was }, { labels = text })
return remember({ o = 'set', a = hash(ACCT), seats = seats(), n = n })
