-- Counts a sample of the responses, for the file that drift/exporter.py reads: sums, counts and the model's labels, but no
-- text of a request or response. Only REST responses are counted, not gRPC.
local FRACTION = << sampled_fraction >>  -- of the requests
local MAX_BYTES = 1048576                -- larger bodies are skipped

-- A quoted name cannot be part of a text, because JSON escapes the quotes of a text.
function numbers_of(body)
  local sum, answers, labels = 0, 0, {}
  -- The first value of a list belongs to the best prediction.
  for value in string.gmatch(body, '"<< score >>":%s*%[?%s*(%-?%d[%d.eE+-]*)') do
    sum = sum + tonumber(value)
    answers = answers + 1
  end
<% if label_output %>
  for label in string.gmatch(body, '"<< label_output >>":%s*"([^"\\]*)"') do
    labels[label] = (labels[label] or 0) + 1
  end
<% endif %>
  local abstentions = 0
<% if abstain_output %>
  for _ in string.gmatch(body, '"<< abstain_output >>":%s*<< abstain_value >>%D') do abstentions = abstentions + 1 end
<% endif %>
  local unusual = 0
<% if domain_output %>
  for value in string.gmatch(body, '"<< domain_output >>":%s*(%d[%d.eE+-]*)') do
    if tonumber(value) < << significance >> then unusual = unusual + 1 end
  end
<% endif %>
  return {answers = answers, score_sum = sum, abstentions = abstentions, unusual = unusual, labels = labels}
end

function envoy_on_request(handle)
  local path = handle:headers():get(":path") or ""
  if path:match(":predict$") and math.random() < FRACTION then
    handle:streamInfo():dynamicMetadata():set("tfbert", "sampled", true)
  end
end

function envoy_on_response(handle)
  local request = handle:streamInfo():dynamicMetadata():get("tfbert")
  if not (request and request["sampled"]) or handle:headers():get(":status") ~= "200" then return end
  local size = tonumber(handle:headers():get("content-length") or "")
  -- Buffering a body of unknown size could use up the proxy's memory.
  if not size or size > MAX_BYTES then return end
  local body = handle:body()
  if not body then return end
  local metadata = handle:streamInfo():dynamicMetadata()
  for name, value in pairs(numbers_of(body:getBytes(0, body:length()))) do
    metadata:set("tfbert", name, value)
  end
end
