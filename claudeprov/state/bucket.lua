-- The token buckets of one route, as claudeprov/state/bucket.py has them. Times are the server's, in microseconds.
-- KEYS[1]: hash of the route. ARGV[1]: take, give, hold or steer; what follows is said at each.

local ROUNDING = 1e-6   -- what a bucket may lack for an amount to be taken
local KEPT = 60         -- seconds for which a route is kept once its buckets are full

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local pool = {}
local stored = redis.call('HGETALL', KEYS[1])
for i = 1, #stored, 2 do pool[stored[i]] = tonumber(stored[i + 1]) end
local held = pool.held or 0

local function bucket_of(name, upto)
  if not pool[name .. ':rate'] then return nil end
  local bucket = {name = name}
  for _, field in ipairs({'rate', 'burst', 'level', 'at', 'pace', 'paced'}) do
    bucket[field] = pool[name .. ':' .. field]
  end
  if upto > bucket.at then
    local all = upto - bucket.at
    local slow = math.min(math.max(bucket.paced - bucket.at, 0), all)
    local gained = (slow * bucket.pace + (all - slow) * bucket.rate) / 1e6
    bucket.level, bucket.at = math.min(bucket.level + gained, bucket.burst), upto
  end
  return bucket
end

local function adopted(name, rate, burst)
  local bucket = bucket_of(name, now)
  if not bucket then
    bucket = {name = name, level = burst, at = now, pace = 0, paced = now}
  elseif bucket.rate == rate and bucket.burst == burst then
    return bucket, false
  end
  bucket.rate, bucket.burst, bucket.level = rate, burst, math.min(bucket.level, burst)
  return bucket, true
end

local function wait_for(bucket, amount)
  local missing = amount - bucket.level
  if missing <= ROUNDING then return 0 end
  local start = math.max(bucket.at - now, 0) / 1e6
  local slow = math.max((bucket.paced - now) / 1e6 - start, 0)
  if bucket.pace * slow >= missing then return start + missing / bucket.pace end
  return start + slow + (missing - bucket.pace * slow) / bucket.rate
end

local function keep(buckets)
  local seconds = math.max(held - now, 0) / 1e6
  local fields = {'held', string.format('%.0f', held)}
  for _, bucket in ipairs(buckets) do
    seconds = math.max(seconds, wait_for(bucket, bucket.burst))
    for _, field in ipairs({'rate', 'burst', 'level', 'at', 'pace', 'paced'}) do
      fields[#fields + 1] = bucket.name .. ':' .. field
      fields[#fields + 1] = string.format('%.17g', bucket[field])
    end
  end
  redis.call('HSET', KEYS[1], unpack(fields))
  redis.call('EXPIRE', KEYS[1], math.max(math.ceil(seconds) + KEPT, redis.call('TTL', KEYS[1])))
end

if ARGV[1] == 'take' then
  -- name, amount, rate, burst of each counter. Answers the seconds to wait, 0 if taken, then the level of each.
  local wait, buckets, changed = math.max(held - now, 0) / 1e6, {}, false
  for i = 2, #ARGV, 4 do
    local bucket, is_new = adopted(ARGV[i], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]))
    changed = changed or is_new
    bucket.amount = tonumber(ARGV[i + 1])
    wait = math.max(wait, wait_for(bucket, bucket.amount))
    buckets[#buckets + 1] = bucket
  end
  if wait == 0 then
    for _, bucket in ipairs(buckets) do bucket.level = bucket.level - bucket.amount end
  end
  if wait == 0 or changed then keep(buckets) end
  local answer = {string.format('%.17g', wait)}
  for _, bucket in ipairs(buckets) do answer[#answer + 1] = string.format('%.17g', bucket.level) end
  return answer
end

local buckets = {}
if ARGV[1] == 'hold' then
  -- seconds. One request may go once they are over, and the others follow at the rate.
  held = math.max(held, now + math.ceil(ARGV[2] * 1e6))
  local bucket = bucket_of('requests', held)
  if bucket then
    bucket.level = math.min(bucket.level, 1)
    buckets[1] = bucket
  end
elseif ARGV[1] == 'give' then
  -- name, amount of each counter.
  for i = 2, #ARGV, 2 do
    local bucket = bucket_of(ARGV[i], now)
    if bucket then
      bucket.level = math.min(bucket.level + tonumber(ARGV[i + 1]), bucket.burst)
      buckets[#buckets + 1] = bucket
    end
  end
elseif ARGV[1] == 'steer' then
  -- name, remaining, seconds until reset of each counter: what remains is spread evenly over them.
  for i = 2, #ARGV, 3 do
    local bucket, remaining, reset = bucket_of(ARGV[i], now), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
    if bucket then
      bucket.pace, bucket.paced = 0, now + reset * 1e6
      if reset > 0 then
        bucket.level = math.min(bucket.level, 0)
        bucket.pace = math.min(math.max(remaining, 0) / reset, bucket.rate)
      end
      buckets[#buckets + 1] = bucket
    end
  end
end
if #buckets > 0 or held > now then keep(buckets) end
