"""What several Lua scripts have in common."""

from typing import Final

BEFORE: Final = """\
-- Decimal text of up to 20 digits: longer is larger, equal lengths compare as text; doubles lose digits.
local function less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end
local function before(a, b)
  local a1, a2 = string.match(a, '^(%d+)-(%d+)$')
  local b1, b2 = string.match(b, '^(%d+)-(%d+)$')
  if a1 ~= b1 then return less(a1, b1) end
  return less(a2, b2)
end
"""
"""`before(a, b)`: whether the ID `a` of a stream is less than `b`."""
