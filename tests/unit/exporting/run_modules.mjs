// Runs check() of each folder's check.mjs, in one process: folders come as JSON, and what was found goes out as JSON.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const found = {};
for (const [name, folder] of Object.entries(JSON.parse(readFileSync(0, "utf8")))) {
  const { check } = await import(pathToFileURL(join(folder, "check.mjs")));
  found[name] = await check();
}
console.log(JSON.stringify(found));
