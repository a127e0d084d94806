import process from "node:process";

import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The page asks its own origin for books, and Vite passes that on: a gateway lets in only pages of its own origin,
// unless DEPTHCAST_ORIGINS names others.
const proxy = { "/v1": { target: process.env.GATEWAY_URL ?? "http://127.0.0.1:8080", ws: true } };

export default defineConfig({ plugins: [react()], server: { proxy }, preview: { proxy } });
