-- standalone
-- Add accounts to e-mail index entries. KEYS: entries of one partition. ARGV: accounts per entry, separated by spaces.
for place, hint in ipairs(KEYS) do
  for account in string.gmatch(ARGV[place], '%S+') do redis.call('SADD', hint, account) end
end
return cjson.encode({ o = 'added' })
