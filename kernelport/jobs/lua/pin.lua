-- Pins registered voices to a job with their recordings as they are now; what the job has pinned before stays.
-- ARGV: job, then of each voice: name, serialized Voice as it was read, SHA-256 of its recording, transcript.
-- Returns the names whose voices are others by now, for the caller to read again.
-- include common
local job, changed = ARGV[1], {}
local voices, recordings = of_its_tenant(VOICES, job), of_its_tenant(VOICE_RECORDINGS, job)
local stage = stage_of(job)
if stage ~= 'open' and stage ~= 'sealed' and stage ~= 'ending' and stage ~= 'stopped' then return changed end
for i = 2, #ARGV, 4 do
  local name, voice, sha256, transcript = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if redis.call('HGET', voices, name) ~= voice then
    changed[#changed + 1] = name
  elseif redis.call('HSETNX', job_voices_key(job), name, sha256 .. transcript) == 1 then
    local recording = job_recording_key(sha256)
    if redis.call('EXISTS', recording) == 0 then
      redis.call('HSET', recording, 'bytes', redis.call('HGET', recordings, name))
    end
    redis.call('HINCRBY', recording, 'pins', 1)
  end
end
return changed
