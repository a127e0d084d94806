import { useState } from "react";

import { Ladder } from "./Ladder";
import { useConnection, useSymbols } from "./books";

const DEPTH = 10;

export function App() {
  const symbols = useSymbols();
  const connection = useConnection();
  const [chosen, setChosen] = useState("");
  const symbol = chosen || symbols[0];
  return (
    <>
      <label>
        Symbol{" "}
        <select value={symbol ?? ""} onChange={(event) => setChosen(event.target.value)}>
          {symbols.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      <p role="status">connection: {connection}</p>
      {symbol ? <Ladder symbol={symbol} depth={DEPTH} /> : <p>The gateway has named no symbols yet.</p>}
    </>
  );
}
