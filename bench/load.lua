-- For wrk: asks for random known users, and prints the rate and the latencies as JSON.
-- wrk ... -- PATH FIRST COUNT: %d in the path becomes one of COUNT ids from FIRST on.
local path, first, count

function init(args)
  path, first, count = args[1], tonumber(args[2]), tonumber(args[3])
  math.randomseed(7)
end

function request()
  return wrk.format("GET", string.format(path, first + math.random(0, count - 1)))
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"rate": %.1f, "p50_ms": %.3f, "p95_ms": %.3f, "p99_ms": %.3f, "failed": %d}\n',
    summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
