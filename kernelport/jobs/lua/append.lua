-- Adds a page to a job.
-- ARGV: job, items the job is expected to have, how many come, their cost, the page, its slices as JSON
--       [[first, count, cost], ...], unix time (microseconds), digests of the items' ids ...
-- Returns {'ok'}, or what is in the way: {'missing'}, {'sealed'}, {'over'}, {'moved', items}, {'duplicate', number}.
local job, count, cost = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local found = fields(job, 'state', 'ending', 'sealed', 'items', 'pages', 'deployment')
if not found[1] then return {'missing'} end
if found[3] == '1' then return {'sealed'} end
if not is_active(found[1]) or found[2] ~= '' then return {'over'} end
if found[4] ~= ARGV[2] then return {'moved', found[4]} end
local known = redis.call('HMGET', job_key(job, 'ids'), unpack(ARGV, 8))
for number = 1, #known do
  if known[number] then return {'duplicate', number - 1} end
end
local page = tonumber(found[5])
local ids = {}
for number = 8, #ARGV do
  ids[#ids + 1] = ARGV[number]
  ids[#ids + 1] = page
end
redis.call('HSET', job_key(job, 'ids'), unpack(ids))
redis.call('HSET', job_key(job, 'pages'), page, ARGV[5])
redis.call('HSET', job_key(job, 'states'), page, string.rep('w', count))
local clock = redis.call('GET', clock_key(found[6])) or 0
if redis.call('EXISTS', job_key(job, 'ready')) == 0 then redis.call('ZADD', active_key(found[6]), 'GT', clock, job) end
for _, slice in ipairs(cjson.decode(ARGV[6])) do
  redis.call('RPUSH', job_key(job, 'ready'), cjson.encode({page, slice[1], slice[2], slice[3]}))
end
add(job, 'pages', 1)
add(job, 'items', count)
add(job, 'waiting_cost', cost)
add(job, 'total_cost', cost)
redis.call('HSET', job_key(job), 'added', ARGV[7])
return {'ok'}
