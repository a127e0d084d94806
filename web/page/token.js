import { UNAUTHORIZED } from "../close_codes.js";

/**
 * The token of the page: from its address, or from whoever looks at it. It is kept in memory only, and goes to the gateway
 * as a header or in a message.
 */

/**
 * Why a token is wanted: "" for nothing. One is good, but "expiring", or another one in its place was "refused"; or none is
 * good: it is "missing", or "ended".
 */
const WANTS = { none: "", expiring: "expiring", refused: "refused", missing: "missing", ended: "ended" };

/** What can be a token at all: such text can stand in a header. */
const TOKEN = /^[\x21-\x7e]+$/;

export class Token {
  #taken = null; // the token that a gateway took last, while that is good
  #given; // one that no gateway has taken or refused yet
  #waiting = []; // resolve the promises of clients that wait for one
  #changed;

  /** `given`: the first token, or null. `changed` is called after every change. */
  constructor(given = null, changed = () => {}) {
    this.#given = given;
    this.#changed = changed;
    this.want = WANTS.none;
    this.text = ""; // what the gateway said of the last one
    this.endsMs = null; // when the one that expires does, in ms since 1970
  }

  /** For requests; null if there is none. */
  get current() {
    return this.#taken ?? this.#given;
  }

  /** Whether a gateway has taken the current token. */
  get isTaken() {
    return this.#taken !== null;
  }

  /** Whether nothing is served before another token is given. */
  get isBarred() {
    return this.want === WANTS.missing || this.want === WANTS.ended;
  }

  /** Whether a token was given in place of one that is still good, and no gateway has answered it yet. */
  get isChecked() {
    return this.#given !== null && this.#taken !== null;
  }

  /** Whether a client waits for a token. */
  get isAwaited() {
    return this.#waiting.length > 0;
  }

  /** A token for a client, in place of `ending` if that is not null: at once, or when somebody gives one. */
  async next(ending) {
    const token = this.#given ?? this.#taken;
    if (token !== null && token !== ending && (ending === null || token !== this.#taken || !this.want)) return token;
    this.#ask(token === null ? this.want || WANTS.missing : WANTS.expiring);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Somebody gives a token; returns whether it can be one. */
  give(text) {
    const token = text.trim();
    if (!TOKEN.test(token)) return false;
    if (this.#taken !== null && subjectOf(token) !== subjectOf(this.#taken)) this.#taken = null;
    this.#given = token;
    this.text = "";
    if (this.#taken === null) this.want = WANTS.none;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve(token);
    this.#changed();
    return true;
  }

  /** A gateway has taken a token. */
  takes(token) {
    if (token !== this.#given) return;
    this.#taken = token;
    this.#given = null;
    this.endsMs = null;
    this.#ask(WANTS.none);
  }

  /** A gateway says when a token will expire, soon. */
  expires(token, endsMs) {
    if (token === this.#taken) this.endsMs = endsMs;
  }

  /** A gateway does not take a token, or not any more. While another one is good, that holds. */
  refuses(token, text = "") {
    if (token === null) {
      if (this.current === null) this.#ask(this.want || WANTS.missing);
      return;
    }
    if (token === this.#given) this.#given = null;
    else if (token === this.#taken) this.#taken = null;
    else return; // there is a newer one
    if (this.#given !== null) return;
    this.text = text;
    if (this.#taken === null) this.#ask(WANTS.ended);
    else this.#ask(this.endsMs === null ? WANTS.refused : WANTS.expiring);
  }

  #ask(want) {
    this.want = want;
    if (!want) this.text = "";
    this.#changed();
  }
}

/** Whose token it is, as far as it says so: nothing is verified here, and what is no token has no subject. */
export function subjectOf(token) {
  try {
    const [, payload] = token.split(".");
    return String(JSON.parse(atob(payload.replace(/-/g, "+").replace(/_/g, "/"))).sub);
  } catch {
    return "";
  }
}

/** The client that `connect(token)` makes, which shows its gateway the page's token and tells what that says of it. */
export function withToken(token, connect) {
  let shown = null;
  const client = connect(async (ending) => {
    shown = await token.next(ending);
    return shown;
  });
  client.addEventListener("token", ({ detail: { expiring, expiresMs } }) => {
    if (expiring) token.expires(shown, expiresMs);
    else token.takes(shown);
  });
  client.addEventListener("problem", ({ detail: { code, text } }) => {
    if (code === "unauthorized") token.refuses(shown, text);
  });
  client.addEventListener("state", ({ detail: { code } }) => {
    if (code === UNAUTHORIZED) token.refuses(shown);
  });
  return client;
}
