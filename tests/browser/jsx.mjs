// node jsx.mjs TYPESCRIPT FILE…: parses files that have JSX, and ends with 1 where one is malformed.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [, , library, ...files] = process.argv;
const { default: ts } = await import(pathToFileURL(library));
const compilerOptions = { jsx: ts.JsxEmit.React, allowJs: true };
for (const fileName of files) {
  const { diagnostics } = ts.transpileModule(readFileSync(fileName, "utf-8"), { reportDiagnostics: true, fileName, compilerOptions });
  for (const { messageText } of diagnostics) {
    console.error(fileName, messageText);
    process.exitCode = 1;
  }
}
