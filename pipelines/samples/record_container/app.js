// The Node service of the container sample: baskets in memory, answered in JSON.
const http = require("node:http");
const fs = require("node:fs");

const [memory, address, folder] = process.argv.slice(2);
const baskets = new Map();

http.createServer((request, response) => {
  const size = Number(request.url.split("/").pop()) || 500;
  const user = Math.floor(Math.random() * 2000);
  const basket = (memory === "keep" && baskets.get(user)) || [];
  if (request.url.includes("write")) {
    basket.push({ item: Math.random().toString(36), text: "x".repeat(size) });
    if (basket.length > 4) basket.shift();
    if (memory === "keep") baskets.set(user, basket);
    fs.appendFile(`${folder}/events.log`, JSON.stringify(basket[0]).slice(0, size) + "\n", () => {});
  }
  const items = Array.from({ length: Math.max(1, Math.floor(size / 40)) }, (_, n) => ({ n, price: Math.random() }));
  const body = JSON.stringify({ user, basket: basket.length, items: items.sort((a, b) => a.price - b.price) });
  response.writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
  response.end(body);
}).listen(3000, address);
