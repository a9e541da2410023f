-- Ask the sidecar about a request before HAProxy passes it on (haproxy.cfg calls this as lua.ask_sidecar).
--
-- Whatever goes wrong leaves txn.sidecar_status at 0, which haproxy.cfg denies.

local CHECK = "http://127.0.0.1:9181/check"
local TIMEOUT_MS = 500   -- HAProxy's client tries four times: a sidecar that does not answer is a denial after 2 s

-- Headers of the connection, and those that this file or haproxy.cfg alone may set. "x[-_]" because a client's
-- X_Forwarded_Uri must not reach the sidecar as anything either.
local KEEP_BACK = {
  ["host"] = true, ["connection"] = true, ["content-length"] = true, ["transfer-encoding"] = true,
  ["upgrade"] = true, ["expect"] = true, ["te"] = true, ["keep-alive"] = true, ["trailer"] = true,
}
local OURS = { "^x[-_]forwarded[-_]", "^x[-_]original[-_]", "^x[-_]auth[-_]" }

local IDENTITY = { "user", "email", "role", "account", "section", "action" }

local function is_ours(name)
  for _, pattern in ipairs(OURS) do
    if name:match(pattern) then return true end
  end
  return false
end

-- HAProxy counts a header's values from 0.
local function values(given)
  local list = {}
  for index = 0, #given do
    if given[index] then list[#list + 1] = given[index] end
  end
  return list
end

local function only(headers, name)
  local given = headers and headers[name]
  if given and given[0] and given[0] ~= "" and not given[1] then return given[0] end
  return nil
end

core.register_action("ask_sidecar", { "http-req" }, function(txn)
  txn:set_var("txn.sidecar_status", 0)
  local headers = {}
  for name, given in pairs(txn.http:req_get_headers()) do
    if not KEEP_BACK[name] and not is_ours(name) then headers[name] = values(given) end
  end
  headers["x-forwarded-method"] = { txn.f:method() }
  headers["x-forwarded-uri"] = { txn.f:pathq() }
  headers["x-forwarded-host"] = { txn.f:req_fhdr("host") or "" }
  headers["x-forwarded-for"] = { txn.f:src() }

  local answer = core.httpclient():get({ url = CHECK, headers = headers, timeout = TIMEOUT_MS })
  if not answer or not answer.status then return end
  txn:set_var("txn.sidecar_challenge", only(answer.headers, "www-authenticate") or "Bearer")
  local location, cookie = only(answer.headers, "location"), only(answer.headers, "cookie")
  if location then txn:set_var("txn.sidecar_location", location) end
  if cookie then txn:set_var("txn.sidecar_cookie", cookie) end
  for _, name in ipairs(IDENTITY) do
    local value = only(answer.headers, "x-auth-" .. name)
    if value then txn:set_var("txn.sidecar_" .. name, value) end
  end
  txn:set_var("txn.sidecar_status", answer.status)
end)
