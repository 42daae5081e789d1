-- The circuit of one route, as claudeprov/state/circuit.py has it. Times are the server's, in microseconds.
-- KEYS: hash of the route; sorted sets of its failures and its calls by when they ended; sorted set of the calls on
-- trial by when they are given up, for a process may end without a verdict.
-- ARGV: open_for, trials, window, failures, failure_rate, minimum_calls (seconds; failures or failure_rate is '');
-- then admit, check or succeed, fail, withdraw, the call's id, and but for admit the turn in which it was admitted.
-- Answers whether the call may go on, the state, the turn, and the seconds until an open circuit lets a trial through.
-- A turn lasts from one change of state to the next: a verdict on a call of an earlier turn says nothing.

local circuit, failures, calls, on_trial = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local open_for, trials, window = ARGV[1] * 1e6, tonumber(ARGV[2]), ARGV[3] * 1e6
local action, id = ARGV[7], ARGV[8]

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local state, turn, opened = unpack(redis.call('HMGET', circuit, 'state', 'turn', 'opened'))
state, turn, opened = state or 'closed', turn or '0', tonumber(opened or 0)
local kept = math.ceil((open_for + window) / 1e6) + 86400

local function become(new)
  state, turn = new, string.format('%.0f', math.max(now, turn + 1))
  if new == 'open' then opened = now end
  redis.call('HSET', circuit, 'state', state, 'turn', turn, 'opened', string.format('%.0f', opened))
  redis.call('EXPIRE', circuit, kept)
  redis.call('DEL', on_trial)
  if new == 'closed' then redis.call('DEL', failures, calls) end
end

local function answer(passes)
  local wait = state == 'open' and math.max(opened + open_for - now, 0) / 1e6 or 0
  return {passes and 1 or 0, state, turn, string.format('%.17g', wait)}
end

local function note(ended)
  redis.call('ZADD', ended, now, id)
  redis.call('ZREMRANGEBYSCORE', ended, '-inf', string.format('%.0f', now - window))
  redis.call('EXPIRE', ended, math.ceil(window / 1e6) + 1)
  return redis.call('ZCARD', ended)
end

local function most_failures()
  if ARGV[5] == '' then return tonumber(ARGV[4]) end
  local ended = redis.call('ZCARD', calls)
  if ended < tonumber(ARGV[6]) then return math.huge end
  return math.ceil(ARGV[5] * ended - 1e-9)
end

if action == 'admit' then
  if state == 'open' and now >= opened + open_for then become('half_open') end
  if state ~= 'half_open' then return answer(state == 'closed') end
  redis.call('ZREMRANGEBYSCORE', on_trial, '-inf', string.format('%.0f', now))
  if redis.call('ZCARD', on_trial) >= trials then return answer(false) end
  redis.call('ZADD', on_trial, now + open_for, id)
  redis.call('EXPIRE', on_trial, kept)
  redis.call('EXPIRE', circuit, kept)
  return answer(true)
end

local is_void = ARGV[9] ~= turn
if action == 'check' then return answer(not is_void or state == 'closed') end
if action == 'withdraw' then redis.call('ZREM', on_trial, id) end
if is_void or action == 'withdraw' then return answer(false) end
if action == 'succeed' then
  if state == 'half_open' then
    become('closed')
  elseif ARGV[5] ~= '' then
    note(calls)
  end
else
  if ARGV[5] ~= '' then note(calls) end
  if note(failures) >= most_failures() or state == 'half_open' then become('open') end
end
return answer(false)
