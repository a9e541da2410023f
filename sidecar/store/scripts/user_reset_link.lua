-- Audit the creation of a reset link, before the link is shown or mailed. The reply's epoch binds the link (R12).
local before = remembered()
if before then return before end
if not actor_holds() then return outcome('actor_changed') end
local was = record(A.uid)
if not was then return outcome('no_user') end
if A.expected_role and was.role ~= A.expected_role then return outcome('actor_changed') end
if was.st ~= 'active' or was.hold or was.acst ~= 'active' then return outcome('not_active') end
audit('user.reset_link', A.uid, nil, { shown = A.shown })
return remember({ o = 'linked', r = was })
