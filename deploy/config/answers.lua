-- Numbers about a sample of the answers, for the file that drift/exporter.py reads. No text of a request or an answer
-- goes there, only sums, counts and the model's own labels. Answers over REST alone: those over gRPC are not read.
local SHARE = << sampled_fraction >>  -- of the requests
local LONGEST = 1048576               -- bytes of a body that are looked at

-- A name in quotes cannot come from a text: JSON writes a text's own quotes with a backslash before them.
function numbers_of(body)
  local sum, answers, labels = 0, 0, {}
  -- Of a list, the first is the best.
  for value in string.gmatch(body, '"<< score >>":%s*%[?%s*(%-?%d[%d.eE+-]*)') do
    sum = sum + tonumber(value)
    answers = answers + 1
  end
<% if has_labels %>
  for label in string.gmatch(body, '"label":%s*"([^"\\]*)"') do
    labels[label] = (labels[label] or 0) + 1
  end
<% endif %>
  local abstentions = 0
<% if nothing %>
  for _ in string.gmatch(body, '"<< nothing[0] >>":%s*<< nothing[1] >>%D') do abstentions = abstentions + 1 end
<% endif %>
  return {answers = answers, score_sum = sum, abstentions = abstentions, labels = labels}
end

function envoy_on_request(handle)
  local path = handle:headers():get(":path") or ""
  if path:match(":predict$") and math.random() < SHARE then
    handle:streamInfo():dynamicMetadata():set("tfbert", "sampled", true)
  end
end

function envoy_on_response(handle)
  local said = handle:streamInfo():dynamicMetadata():get("tfbert")
  if not (said and said["sampled"]) or handle:headers():get(":status") ~= "200" then return end
  local size = tonumber(handle:headers():get("content-length") or "")
  -- Holding a body without a known end could hold all of the proxy's memory.
  if not size or size > LONGEST then return end
  local body = handle:body()
  if not body then return end
  local metadata = handle:streamInfo():dynamicMetadata()
  for name, value in pairs(numbers_of(body:getBytes(0, body:length()))) do
    metadata:set("tfbert", name, value)
  end
end
