-- Records what came of a slice, unless somebody else has it by now; acknowledges the ticket.
-- ARGV: deployment, ticket, attempt, the slice's new states ('.' leaves one as it is), BatchResult or '',
--       audio and backend time (microseconds), bytes of output, useful and padded cost, what the time costs
--       (billionths of a dollar), characters and bytes of the items that succeeded.
-- Returns false when it was too late; else the job's state.
-- include common
-- keys usage USAGE_TTL_S
local deployment, ticket, attempt, new = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local held = held_by(deployment, ticket)
if held and held.attempt ~= attempt then return false end
redis.call('ZREM', UNACKED_INDEX, ticket)
redis.call('HDEL', UNACKED, ticket)
if not held then return false end
redis.call('HDEL', taken_slices_key(deployment), ticket)
local job, page, first, count = held.job, held.slice[1], held.slice[2], held.slice[3]
local states = redis.call('HGET', job_key(job, 'states'), page)
local bytes = {}
for i = 1, count do
  local byte = string.sub(new, i, i)
  bytes[i] = byte == '.' and string.sub(states, first + i, first + i) or byte
end
redis.call('HSET', job_key(job, 'states'), page,
  string.sub(states, 1, first) .. table.concat(bytes) .. string.sub(states, first + count + 1))
local _, succeeded = string.gsub(new, 's', '')
local _, failed = string.gsub(new, 'f', '')
local _, waiting = string.gsub(new, 'w', '')
add(job, 'running', -(succeeded + failed + waiting))
add(job, 'succeeded', succeeded)
add(job, 'failed', failed)
add(job, 'audio_us', tonumber(ARGV[6]))
add(job, 'backend_us', tonumber(ARGV[7]))
add(job, 'output_bytes', tonumber(ARGV[8]))
add(job, 'useful_cost', tonumber(ARGV[9]))
add(job, 'padded_cost', tonumber(ARGV[10]))
local day = usage_key(string.format('%d', math.floor(redis.call('TIME')[1] / 86400)))
local tenant = tenant_of(job)
local characters, size = tonumber(ARGV[12] or 0), tonumber(ARGV[13] or 0)
local used = {items = succeeded + failed, characters = characters, bytes = size, audio_us = ARGV[6], used_us = ARGV[7],
  nano_dollars = ARGV[11]}
for name, amount in pairs(used) do add_used(day, tenant .. ':' .. name, amount) end
redis.call('EXPIRE', day, USAGE_TTL_S)
change_page(job, page, -characters, -size)
if waiting > 0 then
  held.slice[4] = math.ceil(held.slice[4] * waiting / (succeeded + failed + waiting))
  add(job, 'waiting_cost', held.slice[4])
  -- Stopped before the job was known to end, as by its deadline: whoever looks next decides.
  if fields(job, 'ending')[1] == '' then redis.call('LPUSH', job_key(job, 'ready'), cjson.encode(held.slice)) end
end
if ARGV[5] ~= '' then
  local number = tell(job, 'result', ARGV[5])
  local index = redis.call('HGET', job_key(job, 'index'), page) or ''
  redis.call('HSET', job_key(job, 'index'), page, index .. whole(number) .. ' ')
end
settle(job)
return fields(job, 'state')[1]
