-- What wrk sends (with `jobs` behind the address, asynchronously), and how it tells what came of it: one line of JSON.
wrk.method = "POST"
wrk.body = '{"input":1}'
wrk.headers["Content-Type"] = "application/json"

function init(arguments)
  if arguments[1] == "jobs" then
    wrk.headers["Async-Mode"] = "true"
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
