-- Counts the calls of a front door against the quotas of whoever makes them: tenants and keys, here holders.
-- ARGV: one msgpack of {the front door, holders, calls, given back}:
--   a holder: {name, its calls in flight at this front door, calls a second, calls, characters a day, bytes a day}, the
--     last four of them -1 where that is not limited;
--   a call that comes: {characters, bytes, numbers of its holders from 1};
--   what is given back: {number of a holder, day, characters, bytes}.
-- Gives the day, then for each call 0 when it is counted in, else {number of the holder, which of its quotas from 1,
-- what it has used, milliseconds until trying again makes sense; -1 where nobody knows}.
-- include used
-- keys front_door quota_calls quota_rate quota_day QUOTA_CALLS_TTL_S QUOTA_DAY_TTL_S
local own, holders, calls, given_back = unpack(cmsgpack.unpack(ARGV[1]))
local RATE, CALLS, CHARACTERS, BYTES = 1, 2, 3, 4
local DAY_S = 86400
-- So much of a second's calls may come at once.
local BURST_S = 0.25

local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local day = math.floor(now / DAY_S)
local known = {[own] = true}

local function lives(front_door)
    if known[front_door] == nil then known[front_door] = redis.call('EXISTS', front_door_key(front_door)) == 1 end
    return known[front_door]
end

-- What other front doors have in flight; of one that is dead, nothing is left.
local function in_flight_elsewhere(key)
    local sum, found = 0, redis.pcall('HGETALL', key)
    if found.err then redis.call('DEL', key) end
    for i = 1, #found, 2 do
        local calls = whole_number(found[i + 1])
        if not calls or not lives(found[i]) then
            redis.call('HDEL', key, found[i])
        elseif found[i] ~= own then
            sum = sum + calls
        end
    end
    return sum
end

-- When the next call is early no more: at most as far from now as this rate brings it, which may have been another one.
local function next_at(name, rate)
    local key = quota_rate_key(name)
    local at = tonumber(redis.pcall('GET', key) or now)
    return at and at <= now + BURST_S + 1 / rate and at or now
end

for _, back in ipairs(given_back) do
    local key = quota_day_key(holders[back[1]][1], string.format('%d', back[2]))
    used_in_day(key)
    if redis.call('EXISTS', key) == 1 then
        redis.call('HINCRBY', key, 'characters', string.format('%d', -back[3]))
        redis.call('HINCRBY', key, 'bytes', string.format('%d', -back[4]))
    end
end

local states = {}
for i, holder in ipairs(holders) do
    local name, here = holder[1], holder[2]
    local state = {here = here, elsewhere = 0, next_at = now, characters = 0, bytes = 0}
    state.limits = {holder[3], holder[4], holder[5], holder[6]}
    if state.limits[CALLS] >= 0 then state.elsewhere = in_flight_elsewhere(quota_calls_key(name)) end
    if state.limits[RATE] >= 0 then state.next_at = next_at(name, state.limits[RATE]) end
    if state.limits[CHARACTERS] >= 0 or state.limits[BYTES] >= 0 then
        state.characters_before, state.bytes_before = used_in_day(quota_day_key(name, string.format('%d', day)))
    end
    states[i] = state
end

local function refusal(call)
    for i = 3, #call do
        local state = states[call[i]]
        local limits = state.limits
        if limits[RATE] >= 0 then
            local each_s = limits[RATE] > 0 and 1 / limits[RATE] or math.huge
            -- At least one may come at any time.
            local early_s = math.max(0, BURST_S - each_s)
            if state.next_at - early_s > now or limits[RATE] == 0 then
                local wait_ms = limits[RATE] > 0 and math.ceil(1000 * (state.next_at - early_s - now)) or -1
                return {call[i], RATE, 0, wait_ms}
            end
        end
        if limits[CALLS] >= 0 and state.here + state.elsewhere >= limits[CALLS] then
            return {call[i], CALLS, state.here + state.elsewhere, -1}
        end
        local until_tomorrow_ms = math.ceil(1000 * ((day + 1) * DAY_S - now))
        if limits[CHARACTERS] >= 0 then
            local used = state.characters_before + state.characters
            if used + call[1] > limits[CHARACTERS] then return {call[i], CHARACTERS, used, until_tomorrow_ms} end
        end
        if limits[BYTES] >= 0 then
            local used = state.bytes_before + state.bytes
            if used + call[2] > limits[BYTES] then return {call[i], BYTES, used, until_tomorrow_ms} end
        end
    end
end

local answers = {day}
for number, call in ipairs(calls) do
    local refused = refusal(call)
    answers[number + 1] = refused or 0
    if not refused then
        for i = 3, #call do
            local state = states[call[i]]
            state.here = state.here + 1
            state.characters = state.characters + call[1]
            state.bytes = state.bytes + call[2]
            if state.limits[RATE] > 0 then state.next_at = math.max(now, state.next_at) + 1 / state.limits[RATE] end
        end
    end
end

for i, holder in ipairs(holders) do
    local name, state = holder[1], states[i]
    if state.limits[CALLS] >= 0 then
        local key = quota_calls_key(name)
        if state.here > 0 then
            redis.call('HSET', key, own, state.here)
            redis.call('EXPIRE', key, QUOTA_CALLS_TTL_S)
        else
            redis.call('HDEL', key, own)
        end
    end
    if state.limits[RATE] > 0 and state.next_at > now then
        redis.call('SET', quota_rate_key(name), string.format('%.6f', state.next_at),
            'PX', math.ceil(1000 * (state.next_at - now)) + 1000)
    end
    if state.characters > 0 or state.bytes > 0 then
        local key = quota_day_key(name, string.format('%d', day))
        redis.call('HINCRBY', key, 'characters', string.format('%d', state.characters))
        redis.call('HINCRBY', key, 'bytes', string.format('%d', state.bytes))
        redis.call('EXPIRE', key, QUOTA_DAY_TTL_S)
    end
end
return answers
