-- Read only: a user's record, confirmed factors with their sealed secrets, and the number of unused recovery codes.
local found = record(A.uid)
if not found then return outcome('no_user') end
local all = {}
for id, counts in pairs(hash(key('factors:' .. A.uid))) do
  local fields = hash(key('f:' .. id))
  fields.id, fields.counts = id, counts
  all[#all + 1] = fields
end
return answer({ o = 'found', r = found, all = all, codes = redis.call('SCARD', key('rc:' .. A.uid)) })
