-- standalone, include: generations
-- Make a sidecar's own generation the first one of a store without any. KEYS: generations, log, feed, sidecars.
-- ARGV[1]: id, digest, counter, signature, by, note, first, codes, roles, assignable, actions, sidecar.
-- ARGV[2...]: its files.
local before = remembered()
if before then return before end
if redis.call('EXISTS', SEEN .. ':active', SEEN .. ':history') > 0 then return remember({ o = 'exists' }) end
local code, n = next_code()
if not code then return cjson.encode({ o = 'moved' }) end
keep_files(A.id)
switch(A, n, code)
record_generation({ generation = A.id, revision = int(n), by = A.by, note = A.note })
return remember({ o = 'seeded', n = int(n) })
