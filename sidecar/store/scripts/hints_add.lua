-- standalone
-- KEYS: e-mail hints of one partition. ARGV: for each the accounts to add, with spaces between.
for place, hint in ipairs(KEYS) do
  for account in string.gmatch(ARGV[place], '%S+') do redis.call('SADD', hint, account) end
end
return cjson.encode({ o = 'added' })
