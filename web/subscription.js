import { checkCount } from "./options.js";

const UNGROUPED = 1; // tick

/** The options of a subscription, complete and frozen; throws a TypeError if one is of another type. */
export function subscriptionOf({ depth = 25, intervalMs = 0, group = UNGROUPED, orders = false } = {}) {
  checkCount("depth", depth);
  checkCount("intervalMs", intervalMs);
  checkCount("group", group, 1);
  if (typeof orders !== "boolean") throw new TypeError(`orders is ${String(orders)}: give true or false`);
  if (orders && group !== UNGROUPED) throw new TypeError(`orders is true with a group of ${group}: give one of them`);
  return Object.freeze({ depth, intervalMs, group, orders });
}

/** The fields that say them in a subscribe message. */
export function fieldsOf({ depth, intervalMs, group, orders }) {
  return { depth, interval_ms: intervalMs, parts: true, ...(group !== UNGROUPED && { group }), ...(orders && { orders }) };
}

/** A text that is equal for equal options. */
export function keyOf(options) {
  return Object.values(options).join(" ");
}

/** Whether a `subscribed` message begins a book with the levels that were asked for. */
export function fits(message, options) {
  return message.depth === options.depth && !lackIn(message, options);
}

/** What a gateway does otherwise than asked, by its `subscribed`, as text; "" if nothing. An old one ignores options. */
export function lackIn({ group = UNGROUPED, orders }, options) {
  if (group !== options.group) return "the gateway does not group levels";
  return (orders === true) === options.orders ? "" : "the gateway does not say how many orders a level has";
}
