-- Adds a page to a job.
-- ARGV: job, items the job is expected to have, how many come, their cost, the page, its slices as JSON
--       [[first, count, cost], ...], unix time (microseconds), the running digest of the job's items with these,
--       '' or JSON of what they take of a day [characters, bytes, [[holder, characters a day, bytes a day], ...]],
--       digests of the items' ids ...
-- Returns {'ok'}, or what is in the way: {'refused', stage}, {'moved', items}, {'duplicate', number},
-- {'quota', ...} as `may_use` has it.
-- include common
local job, count, cost, digest = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[8]
local allowed, stage = may(job, 'add')
if allowed == nil then return {'refused', stage} end
local found = fields(job, 'items', 'pages', 'deployment')
if found[1] ~= ARGV[2] then return {'moved', found[1]} end
local known = redis.call('HMGET', job_key(job, 'ids'), unpack(ARGV, 10))
for number = 1, #known do
  if known[number] then return {'duplicate', number - 1} end
end
local page = tonumber(found[2])
if ARGV[9] ~= '' then
  local characters, bytes, holders = unpack(cjson.decode(ARGV[9]))
  local may_be, refusal = may_use(holders, characters, bytes)
  if not may_be then return refusal end
  count_page(job, page, holders, characters, bytes)
end
local ids = {}
for number = 10, #ARGV do
  ids[#ids + 1] = ARGV[number]
  ids[#ids + 1] = page
end
redis.call('HSET', job_key(job, 'ids'), unpack(ids))
redis.call('HSET', job_key(job, 'pages'), page, ARGV[5])
redis.call('HSET', job_key(job, 'states'), page, string.rep('w', count))
redis.call('ZADD', job_key(job, 'digests'), found[1] + count, page .. ':' .. digest)
if redis.call('EXISTS', job_key(job, 'ready')) == 0 then be_active(found[3], job, 'GT') end
for _, slice in ipairs(cjson.decode(ARGV[6])) do
  redis.call('RPUSH', job_key(job, 'ready'), cjson.encode({page, slice[1], slice[2], slice[3]}))
end
add(job, 'pages', 1)
add(job, 'items', count)
add(job, 'waiting_cost', cost)
add(job, 'total_cost', cost)
redis.call('HSET', job_key(job), 'added', ARGV[7], 'reason', '')
return {'ok'}
