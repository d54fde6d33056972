// Makes a component: node build.mjs SOURCE WORLD OUT, beside the packages of package-lock.json.

import { componentize } from "@bytecodealliance/componentize-js";
import { readFile, writeFile } from "node:fs/promises";

const [source, witPath, out] = process.argv.slice(2);
const { component } = await componentize(await readFile(source, "utf8"), {
  witPath,
  worldName: "program",
  // It would import wasi:http, used or not, which `memfold run` does not provide.
  disableFeatures: ["http", "fetch-event"],
});
await writeFile(out, component);
