import { readFileSync } from "node:fs";
import { startLocalWorker } from "../../scripts/local-worker.mjs";
import { chromium } from "playwright-core";
const worker = await startLocalWorker({ vars: (g) => ({ ...g, API_TOKEN: "t", KV_API_WRITABLE: "*", METRICS: process.env.METRICS ?? "", CACHE_UPSTREAMS:"https://example.com" , ROUTING_ORIGINS:"green.example,black.example"}), onLog: (l) => console.log("LOG", l.message) });
await worker.env.USER_CONFIGURATION.put("flags", readFileSync("demo/flags.json", "utf8"));
await worker.env.ROUTING_CONFIG.put("tea", JSON.stringify({variants:[{name:"green",origin:"https://green.example",weight:80},{name:"black",origin:"https://black.example/base",weight:20}]}));
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM_BIN, args: ["--no-sandbox"] });
const context = await browser.newContext({ baseURL: worker.directUrl.origin, viewport: { width: 1280, height: 1400 } });
context.setDefaultTimeout(8000);
await context.addInitScript(() => sessionStorage.setItem("kv-edge-token", "t"));
const page = await context.newPage();
page.on("console", (m) => ["error","warning"].includes(m.type()) && console.log("CON", m.text()));
page.on("pageerror", (e) => console.log("ERR", e.stack));
page.on("response", async (r) => { if (!r.ok()) console.log(r.status(), r.request().method(), r.url(), (r.request().postData()??"").slice(0,300), (await r.text().catch(()=>"")).slice(0,400)); });
try { await (await import(process.argv[2])).default({ page, worker, context }); } catch (e) { console.log(e.message.slice(0, 1500)); await page.screenshot({ path: "/tmp/preview/dbg.png" }); }
await browser.close(); await worker.stop(); process.exit();
