-- Makes items of a page wait again whose files are missing.
-- ARGV: job, its round, page, the page's states, bytes of output and audio time (microseconds) of those items.
-- include common
local job, page = ARGV[1], ARGV[3]
if not may(job, 'written') or (fields(job, 'round')[1] or '0') ~= ARGV[2] then return end
local _, before = string.gsub(redis.call('HGET', job_key(job, 'states'), page), 's', '')
local _, after = string.gsub(ARGV[4], 's', '')
if after == before then return end
redis.call('HSET', job_key(job, 'states'), page, ARGV[4])
add(job, 'succeeded', after - before)
add(job, 'output_bytes', -ARGV[5])
add(job, 'audio_us', -ARGV[6])
