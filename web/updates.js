/** The connection ended for good: `code` and `reason` say why (docs/protocol.md, section 3.3). */
export class ConnectionEnded extends Error {
  constructor(code, reason) {
    super(`the gateway ended the connection: ${code}${reason ? ` ${reason}` : ""}`);
    this.name = "ConnectionEnded";
    this.code = code;
    this.reason = reason;
  }
}

/**
 * The views of a client as they change, beginning with those that have a book. Changes that nobody took yet are
 * conflated: a symbol waits at most once, so a slow loop gets fewer views, each as it is then.
 *
 * It ends when the client is closed, and throws `ConnectionEnded` when the gateway ended the connection for good.
 */
export async function* updatesOf(client) {
  const waiting = new Set();
  let wake = () => {};
  const changed = ({ detail: { view } }) => {
    waiting.add(view);
    wake();
  };
  const ended = ({ detail: { state } }) => {
    if (state === "ended") wake();
  };
  const events = { update: changed, status: changed, state: ended };
  for (const [name, listener] of Object.entries(events)) client.addEventListener(name, listener);
  try {
    for (const view of client.views.values()) if (view.book.seq) waiting.add(view);
    while (client.state !== "ended") {
      for (const view of waiting) {
        waiting.delete(view);
        yield view;
      }
      if (client.state === "ended") break;
      await new Promise((resolve) => {
        wake = resolve;
      });
    }
    if (client.ending) throw client.ending;
  } finally {
    for (const [name, listener] of Object.entries(events)) client.removeEventListener(name, listener);
  }
}
