"""The page and the JavaScript client, in a real browser and in Node."""
