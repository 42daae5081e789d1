-- The accounts of a budget, as claudeprov/state/reservation.py has them. Amounts are whole: tokens, or 1e-12 USD.
-- KEYS: hash of each account: what is spent, what is reserved, and under a reservation's id what it has set aside.
-- A reservation that is never settled, since its process ended, stays set aside until its account's period is over.
-- ARGV[1]: reserve or settle; ARGV[2]: the reservation's id; what follows is said at each, for each account.

local id = 'of:' .. ARGV[2]

local function number(account, field) return tonumber(redis.call('HGET', account, field) or 0) end

if ARGV[1] == 'reserve' then
  -- amount, limit, what was spent before the account was opened ('': not asked yet), the seconds to keep it.
  -- Answers 'new' and the places of accounts whose opening must be asked; or 'exceeded', the place, what is spent and
  -- reserved; or 'reserved', and for each account what is spent and reserved now.
  local new = {'new'}
  for place, account in ipairs(KEYS) do
    local opening = ARGV[4 * place + 1]
    if redis.call('HEXISTS', account, 'spent') == 0 then
      if opening == '' then
        new[#new + 1] = place
      else
        redis.call('HSET', account, 'spent', opening)
        redis.call('EXPIRE', account, ARGV[4 * place + 2])
      end
    end
  end
  if #new > 1 then return new end
  for place, account in ipairs(KEYS) do
    local taken = number(account, 'spent') + number(account, 'reserved')
    if taken + ARGV[4 * place - 1] > tonumber(ARGV[4 * place]) then
      return {'exceeded', place, redis.call('HGET', account, 'spent'), redis.call('HGET', account, 'reserved') or '0'}
    end
  end
  local answer = {'reserved'}
  for place, account in ipairs(KEYS) do
    redis.call('HSET', account, id, ARGV[4 * place - 1])
    redis.call('HINCRBY', account, 'reserved', ARGV[4 * place - 1])
    redis.call('EXPIRE', account, ARGV[4 * place + 2])
    answer[#answer + 1] = redis.call('HGET', account, 'spent')
    answer[#answer + 1] = redis.call('HGET', account, 'reserved')
  end
  return answer
end

-- cost, what to do where nothing is set aside ('': nothing, for it was settled before; 'add' the cost if the account is
-- there; 'open' it with the cost), and the seconds to keep it. Answers for each account what is spent and reserved now; '' where it did nothing.
local answer = {}
for place, account in ipairs(KEYS) do
  local cost, otherwise = ARGV[3 * place], ARGV[3 * place + 1]
  local held = redis.call('HGET', account, id)
  local spent, reserved = '', ''
  if held then
    redis.call('HDEL', account, id)
    if held ~= '0' then redis.call('HINCRBY', account, 'reserved', '-' .. held) end
  end
  if held or otherwise == 'open' or (otherwise == 'add' and redis.call('EXISTS', account) == 1) then
    redis.call('HINCRBY', account, 'spent', cost)
    redis.call('EXPIRE', account, ARGV[3 * place + 2])
    spent, reserved = redis.call('HGET', account, 'spent'), redis.call('HGET', account, 'reserved') or '0'
  end
  answer[#answer + 1], answer[#answer + 2] = spent, reserved
end
return answer
