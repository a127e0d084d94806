import { Book } from "./book.js";

const DEPTH = 10;
const RETRY_MS = 1000;
const element = (id) => document.getElementById(id);
let socket = null;

async function start() {
  const response = await fetch("/v1/symbols");
  const symbols = await response.json();
  element("symbol").replaceChildren(...symbols.map(({ symbol }) => new Option(symbol, symbol)));
  element("symbol").addEventListener("change", () => socket?.close());
  if (symbols.length) connect();
  else setTimeout(start, RETRY_MS);
}

function connect() {
  const symbol = element("symbol").value;
  const book = new Book();
  const url = new URL("/v1/ws", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(url, "depthcast.v1.json");
  socket.onopen = () => {
    show("live");
    socket.send(JSON.stringify({ op: "subscribe", symbols: [symbol], depth: DEPTH, interval_ms: 100 }));
  };
  socket.onmessage = (event) => receive(book, JSON.parse(event.data));
  socket.onclose = () => {
    show("closed");
    setTimeout(connect, RETRY_MS);
  };
}

function receive(book, message) {
  if (message.type === "status") show(message.state);
  else if (message.type === "snapshot") book.replace(message);
  else if (message.type === "delta") {
    if (!book.apply(message)) return socket.close();
  } else return undefined;
  return requestAnimationFrame(() => draw(book));
}

function draw(book) {
  element("seq").textContent = book.seq === null ? "" : `seq ${book.seq}`;
  element("asks").replaceChildren(...book.best("asks", DEPTH).reverse().map((level) => row(level, "ask")));
  element("bids").replaceChildren(...book.best("bids", DEPTH).map((level) => row(level, "bid")));
}

function row([price, quantity], side) {
  const line = document.createElement("tr");
  line.className = side;
  for (const value of [price, quantity]) {
    line.appendChild(document.createElement("td")).textContent = String(value);
  }
  return line;
}

function show(state) {
  element("state").textContent = state;
  element("state").dataset.state = state;
}

start();
