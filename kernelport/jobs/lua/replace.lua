-- Gives a page of a job that is over with other inputs of some of its items.
-- ARGV: job, the job's edition that the page was made from, page, the page with the new items,
--       by how much their characters and bytes are more than before, their positions ...
-- Returns {'ok'}, {'refused', stage}, or {'moved'} when the job has another edition, or one of the items succeeded.
-- include common
local job, edition, page = ARGV[1], ARGV[2], ARGV[3]
local allowed, stage = may(job, 'replace')
if allowed == nil then return {'refused', stage} end
local states = redis.call('HGET', job_key(job, 'states'), page)
if (fields(job, 'edition')[1] or '0') ~= edition then return {'moved'} end
for i = 7, #ARGV do
  if string.sub(states, ARGV[i] + 1, ARGV[i] + 1) == 's' then return {'moved'} end
end
redis.call('HSET', job_key(job, 'pages'), page, ARGV[4])
add(job, 'edition', 1)
change_page(job, page, tonumber(ARGV[5]), tonumber(ARGV[6]))
return {'ok'}
