-- What `cargo xtask bench` has wrk do, beyond asking for `/`. The one argument is the length of a JSON
-- body to post, or 0.

function init(arguments)
   local length = tonumber(arguments[1])
   if length > 0 then
      local around = '{"text":""}'
      wrk.method = "POST"
      wrk.headers["Content-Type"] = "application/json"
      wrk.body = '{"text":"' .. string.rep("x", length - #around) .. '"}'
   end
end

-- One line that a program can read: wrk's own are rounded, and end with p99. Times in microseconds.
function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      "measured requests=%d duration=%d failed=%d p50=%f p99=%f p99.9=%f\n",
      summary.requests,
      summary.duration,
      errors.connect + errors.read + errors.write + errors.status + errors.timeout,
      latency:percentile(50),
      latency:percentile(99),
      latency:percentile(99.9)
   ))
end
