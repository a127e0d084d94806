"""The Lua scripts: Redis fences every write of a leader, in the same step as the write itself.

In a pipeline or MULTI, a refused XADD would not stop the commands after it. A script compares first and
writes nothing if the comparison fails (`docs/protocol.md`, section 2.2). It also writes nothing if any of its
writes would fail: a key holds a value of another type, or the user may not run a command. Full memory and a
server that refuses writes fail the first write.
"""

from typing import Final

from depthcast.shared.lua import BEFORE

_COMMON: Final = (
    """
-- An error would not undo the writes before it, so whatever could fail is checked before the first write: the
-- types of the keys, and whether the user may run each command that writes on each key.
local function refused(key, kind, ...)
  local held = redis.call('TYPE', key).ok
  if held ~= 'none' and held ~= kind then
    return redis.error_reply('WRONGTYPE ' .. key .. ' holds a ' .. held .. ', not a ' .. kind)
  end
  for _, command in ipairs({...}) do
    if not redis.acl_check_cmd(unpack(command)) then
      return redis.error_reply('NOPERM this user may not run ' .. command[1] .. ' on ' .. key)
    end
  end
end

-- The last ID ever generated in a stream, and how many entries were ever added.
local function last(key)
  if redis.call('TYPE', key).ok == 'none' then return '0-0', 0 end
  local info, found = redis.call('XINFO', 'STREAM', key), {}
  for i = 1, #info, 2 do found[info[i]] = info[i + 1] end
  return found['last-generated-id'], found['entries-added']
end

"""
    + BEFORE
    + """
-- The position of a checkpoint: nothing before it has digits.
local function position_in(checkpoint)
  return string.match(string.sub(checkpoint, 1, 64), '%d+%-%d+')
end
-- Whether no snapshot at `id` can be added because of a last ID that is not of this history: it is beyond
-- `tail`, the end of deltas, or of an entry of somebody else.
local function foreign(key, id, tail)
  local held = last(key)
  if before(held, id) then return false end
  if before(tail, held) then return true end
  local newest = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  return not newest or newest[2][1] ~= 's'
end
-- Check the recovery state in KEYS from `first` on, as `refused` does.
local function attachment_refused(first, at, tail)
  for number = first, #KEYS do
    local key, id, refusal = KEYS[number], ARGV[at]
    if id == '=' or id == '+' or id == '#' then
      refusal = refused(key, 'hash', {'HSET', key, 'symbol', ''}, {'DEL', key})
    elseif id == '' then
      refusal = refused(key, 'string', {'SET', key, ''}, {'GETRANGE', key, '0', '63'})
    else
      refusal = refused(key, 'stream', {'XADD', key, 'MAXLEN', '2', '*', 's', ''}, {'XINFO', 'STREAM', key})
      if not refusal and foreign(key, id, tail) then refusal = refused(key, 'stream', {'DEL', key}) end
    end
    if refusal then return refusal end
    at = at + 2
  end
end
-- Set fields of a hash: names and values in turn. Lua's `unpack` fails near 8,000 values.
local function set(key, flat)
  for i = 1, #flat, 2000 do redis.call('HSET', key, unpack(flat, i, math.min(i + 1999, #flat))) end
end
-- Write a snapshot under its ID, or a checkpoint, unless a newer one is there: commands may arrive late.
-- A record never does: only PUBLISH has one, and it compares first.
local function attach(key, id, value, tail)
  if id == '#' then
    set(key, cmsgpack.unpack(value))
    return
  end
  if id == '=' or id == '+' then
    if id == '=' then redis.call('DEL', key) end
    local flat = {}
    for _, symbol in ipairs(cmsgpack.unpack(value)) do
      flat[#flat + 1] = symbol
      flat[#flat + 1] = tail
    end
    set(key, flat)
    return
  end
  if id ~= '' then
    local held = last(key)
    if held ~= '0-0' and foreign(key, id, tail) then
      redis.call('DEL', key)
      held = '0-0'
    end
    if before(held, id) then redis.call('XADD', key, 'MAXLEN', 2, id, 's', value) end
    return
  end
  local held = position_in(redis.call('GETRANGE', key, 0, 63))
  if not held or before(tail, held) or not before(position_in(value), held) then
    redis.call('SET', key, value)
  end
end
"""
)

PUBLISH: Final = (
    _COMMON
    + """
-- The same for the stream of rejects, whose IDs the server counts.
local function rejects_refused(key)
  local refusal = refused(key, 'stream',
    {'XADD', key, 'MAXLEN', '~', '1', '*', '_', ''}, {'XTRIM', key, 'MAXLEN', '0'}, {'XINFO', 'STREAM', key})
  if refusal then return refusal end
  if string.match(last(key), '^%d+') == '18446744073709551615' then
    return redis.error_reply('WRONGTYPE ' .. key .. ' holds the last possible ID')
  end
end

local deltas, events, rejects = KEYS[1], KEYS[2], KEYS[3]
local previous, src, rejects_max = ARGV[1], ARGV[2], ARGV[3]
local entries_count, batches_count = tonumber(ARGV[4]), tonumber(ARGV[5])
local tail = ARGV[4 + 2 * entries_count]
local attached_at = #ARGV - 2 * (#KEYS - 3) + 1
local refusal = refused(deltas, 'stream', {'XADD', deltas, '*', '_', ''})
  or refused(events, 'stream')
  or batches_count > 0 and rejects_refused(rejects)
  or attachment_refused(4, attached_at, tail)
if refusal then return refusal end
local found = last(deltas)
if found ~= previous then return {0, 'deltas', found} end
local input, added = last(events)
if before(input, src) then return {0, 'events', input} end
local time = redis.call('TIME')
local written = time[1] .. string.format('%06d', time[2])

local rejected = {}
for batch = attached_at - batches_count, attached_at - 1 do
  for _, fields in ipairs(cmsgpack.unpack(ARGV[batch])) do rejected[#rejected + 1] = fields end
end

local at, entries = 6, {}
for _ = 1, entries_count do
  entries[#entries + 1] = {ARGV[at], cmsgpack.unpack(ARGV[at + 1])}
  at = at + 2
end
for _, entry in ipairs(entries) do
  local fields = entry[2]
  fields[#fields + 1] = '_w'
  fields[#fields + 1] = written
  redis.call('XADD', deltas, entry[1], unpack(fields))
end
-- If these alone fill the cap, all older rejects go, and with them those that were not even sent.
if #rejected >= tonumber(rejects_max) then redis.call('XTRIM', rejects, 'MAXLEN', 0) end
for _, fields in ipairs(rejected) do
  redis.call('XADD', rejects, 'MAXLEN', '~', rejects_max, '*', unpack(fields))
end
at = at + batches_count
for key = 4, #KEYS do
  attach(KEYS[key], ARGV[at], ARGV[at + 1], tail)
  at = at + 2
end
return {1, written, input, added}
"""
)
"""Compare-and-append. KEYS: deltas, events, rejects, then one for each attachment.

ARGV: previous position, src, cap of rejects, number of entries, number of batches of rejects; then for each
entry its ID and a msgpack array of field names and values; for each batch a msgpack array of rejects, each
such an array; for each attachment its stream ID (empty: a checkpoint; `=` or `+`: a msgpack array of symbols,
which replaces the record of symbols or is added to it) and value. Replies {1, the server's time, the last ID
of `events`, how many entries were ever added to it}, or {0, which stream refused, its last ID}.
Each entry gets a field `_w`: the server's time, µs since 1970 as text.

Thousands of fields as arguments would cost both ends several times as much as one packed argument, and
rejects sent one by one could exceed the limit of arguments.
"""

_FENCED: Final = (
    _COMMON
    + """
local refusal = refused(KEYS[1], 'stream')
if refusal then return refusal end
local found, ours = last(KEYS[1]), ARGV[1]
if string.match(found, '^%d+') ~= string.match(ours, '^%d+') or before(found, ours) then
  return {0, 'deltas', found}
end
"""
)

STORE: Final = (
    _FENCED
    + """
refusal = attachment_refused(2, 2, found)
if refusal then return refusal end
local at = 2
for key = 2, #KEYS do
  attach(KEYS[key], ARGV[at], ARGV[at + 1], found)
  at = at + 2
end
return {1}
"""
)
"""Write snapshots and checkpoints if the last entry is of our epoch and not before our last position.

A stream that lost its tail must not get recovery state from beyond its end, and must not be trimmed.

KEYS: deltas, then one for each attachment. ARGV: our last position; then for each attachment its stream ID
(empty: a checkpoint) and value.
"""

TRIM: Final = (
    _FENCED
    + """
refusal = refused(KEYS[2], 'stream')
if refusal then return refusal end
if ARGV[2] ~= '' then redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[2]) end
redis.call('XTRIM', KEYS[2], 'MINID', '~', ARGV[3])
return {1}
"""
)
"""Trim deltas (empty: not at all) and events to begin at these IDs, behind the same fence.

KEYS: deltas, events. ARGV: our last position and both IDs.
"""

STUB: Final = """
local found = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', 1)
if #found == 0 then return {} end
local id, fields, flat = found[1][1], found[1][2], {}
for at = 1, math.min(#fields, 2000) do flat[at] = string.sub(fields[at], 1, 1024) end
return {id, #fields / 2, flat}
"""
"""Read the beginning of one entry. KEYS: events. ARGV: the position before it.

Replies with the entry's ID, the number of its fields, and the beginnings of up to 1,000 names and values; or
with nothing.
"""
