-- What wrk sends: the bodies in the files that stand behind `--`, the second one every 20th time, and
-- the header fields that stand there as `Name: value`; for the value `#`, the number of the request.
-- What came of it is told as one line of JSON.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"

local EVERY = 20

local function read(path)
  local file = assert(io.open(path, "rb"))
  local body = file:read("*a")
  file:close()
  return body
end

function init(arguments)
  local bodies, numbered, count = {}, nil, 0
  for _, argument in ipairs(arguments) do
    local name, value = argument:match("^([%w-]+): (.*)$")
    if value == "#" then
      numbered = name
    elseif name then
      wrk.headers[name] = value
    else
      table.insert(bodies, read(argument))
    end
  end
  wrk.body = bodies[1]
  if numbered then
    request = function()
      count = count + 1
      wrk.headers[numbered] = tostring(count)
      return wrk.format()
    end
  elseif bodies[2] then
    local usual, other = wrk.format(), wrk.format(nil, nil, nil, bodies[2])
    request = function()
      count = count + 1
      return count % EVERY == 0 and other or usual
    end
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"answers":%d,"seconds":%f,"refused":%d,"broken":%d,"p50":%f,"p99":%f,"slowest":%f}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
