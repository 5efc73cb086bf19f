-- What items take of the characters and bytes that tenants and keys may use in a day. The part `counted` of a job has
-- it by page, as JSON [day, characters, bytes, holders ...], of those of its items that have not succeeded: one that
-- succeeds is paid for. What is left when the job is over is given back, and its day is 0 from then on; items that run
-- again are counted again. Pages of callers who have no such quota are not in it.
-- include used
-- keys job quota_day
-- keys QUOTA_DAY_TTL_S
local DAY_S = 86400

local function counted_of(job, page)
  local is_json, counted = pcall(cjson.decode, redis.call('HGET', job_key(job, 'counted'), page) or '')
  if not is_json or type(counted) ~= 'table' then return nil end
  for i = 1, 3 do
    if type(counted[i]) ~= 'number' then return nil end
  end
  return counted
end

local function keep_counted(job, page, counted)
  redis.call('HSET', job_key(job, 'counted'), page, cjson.encode(counted))
end

local function add_to_day(holder, day, characters, bytes)
  local key = quota_day_key(holder, string.format('%d', day))
  used_in_day(key)
  redis.call('HINCRBY', key, 'characters', string.format('%d', characters))
  redis.call('HINCRBY', key, 'bytes', string.format('%d', bytes))
  redis.call('EXPIRE', key, QUOTA_DAY_TTL_S)
end

-- Whether holders, each {name, characters a day, bytes a day} with -1 for no limit, may use so much today; else also
-- {'quota', name, `characters_a_day` or `bytes_a_day`, its limit, what is used, milliseconds until tomorrow}.
local function may_use(holders, characters, bytes)
  local time = redis.call('TIME')
  local day = math.floor(time[1] / DAY_S)
  for _, holder in ipairs(holders) do
    local used = {used_in_day(quota_day_key(holder[1], string.format('%d', day)))}
    for i, amount in ipairs({characters, bytes}) do
      local limit, had = holder[i + 1], used[i]
      if limit >= 0 and had + amount > limit then
        local quota = i == 1 and 'characters_a_day' or 'bytes_a_day'
        return false, {'quota', holder[1], quota, limit, had, 1000 * ((day + 1) * DAY_S - time[1])}
      end
    end
  end
  return true
end

-- Counts what the items of a page take.
local function count_page(job, page, holders, characters, bytes)
  local counted = {math.floor(redis.call('TIME')[1] / DAY_S), characters, bytes}
  for _, holder in ipairs(holders) do
    add_to_day(holder[1], counted[1], characters, bytes)
    counted[#counted + 1] = holder[1]
  end
  keep_counted(job, page, counted)
end

-- So much of what a page has taken is another amount by now, or is paid for.
local function change_page(job, page, characters, bytes)
  local counted = counted_of(job, page)
  if not counted then return end
  counted[2], counted[3] = math.max(0, counted[2] + characters), math.max(0, counted[3] + bytes)
  if counted[2] + counted[3] > 0 then
    keep_counted(job, page, counted)
  else
    redis.call('HDEL', job_key(job, 'counted'), page)
  end
end

-- The job is over: what has not succeeded gives back what it took.
local function give_back(job)
  for _, page in ipairs(redis.call('HKEYS', job_key(job, 'counted'))) do
    local counted = counted_of(job, page)
    if counted and counted[1] > 0 then
      for i = 4, #counted do
        if redis.call('EXISTS', quota_day_key(counted[i], string.format('%d', counted[1]))) == 1 then
          add_to_day(counted[i], counted[1], -counted[2], -counted[3])
        end
      end
      counted[1] = 0
      keep_counted(job, page, counted)
    end
  end
end

-- The same items are to run once more: counts them, now for these holders. Returns nothing, or what `may_use` says.
local function count_again(job, holders)
  local pages, characters, bytes = {}, 0, 0
  for _, page in ipairs(redis.call('HKEYS', job_key(job, 'counted'))) do
    local counted = counted_of(job, page)
    if counted then
      pages[page] = counted
      characters, bytes = characters + counted[2], bytes + counted[3]
    end
  end
  local may, refusal = may_use(holders, characters, bytes)
  if not may then return refusal end
  redis.call('UNLINK', job_key(job, 'counted'))  -- behind a removal, a full Redis takes a write
  for page, counted in pairs(pages) do count_page(job, page, holders, counted[2], counted[3]) end
end
