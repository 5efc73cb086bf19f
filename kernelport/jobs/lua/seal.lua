-- Lets a job take no further items. One that ended while it was open can be resumed from then on; it has succeeded when
-- each of its items has, and there are some.
-- ARGV: job, how many items it is expected to have ('' for any).
-- Returns {'ok'}, {'refused', stage}, {'moved', items}, or {'empty'} when it goes on and has none.
-- include common
local job = ARGV[1]
local allowed, stage = may(job, 'seal')
if allowed == nil then return {'refused', stage} end
local found = fields(job, 'items', 'succeeded')
if ARGV[2] ~= '' and ARGV[2] ~= found[1] then return {'moved', found[1]} end
if found[1] == '0' and stage == 'open' then return {'empty'} end
redis.call('HSET', job_key(job), 'sealed', '1')
if stage == 'open' then redis.call('HSET', job_key(job), 'reason', '') end
if stage == 'broken' and tonumber(found[1]) > 0 and found[1] == found[2] then
  redis.call('HSET', job_key(job), 'ending', '', 'reason', '', 'finished', 0, 'expires', 0, 'finish_tries', 0, 'remade', 0)
  keep(job)
  hand_over(job)
end
settle(job)
return {'ok'}
