-- Takes an open job back: at once, or with its files when nothing of it runs any more.
-- ARGV: job.  Returns 1, or 0 when it is not open.
-- include common
local job = ARGV[1]
if stage_of(job) ~= 'open' then return 0 end
local found = fields(job, 'deployment', 'running', 'request_key')
be_active_no_more(found[1], job)
if found[3] ~= '' then redis.call('UNLINK', found[3]) end
if found[2] == '0' then
  give_back(job)
  begin_deleting(job, fields(job, 'started')[1])
else
  redis.call('HSET', job_key(job), 'discarded', 1)
  begin_ending(job, 'cancelled', 'its submission was given up')
end
return 1
