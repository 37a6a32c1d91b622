/** Runs the model on inputs, and compares what it gives with what selfloop gives: `node check.mjs`. */

import { facts, Model } from "./{{MODULE}}";

const cases = [
{{CASES}}
];

/** The largest difference relative to the largest output, and the microseconds of a step. */
export async function check() {
  const model = await Model.load();
  let difference = 0;
  for (const { x, y } of cases) {
    const got = model.run(x);
    const scale = Math.max(1e-30, ...y.map(Math.abs));
    if (got.length !== y.length) difference = Infinity;
    y.forEach((value, k) => {
      const far = Math.abs(got[k] - value) / scale;
      difference = Number.isNaN(far) ? Infinity : Math.max(difference, far);
    });
  }
  const { x } = cases[0];
  const steps = x.length / facts.input;
  const long = Array.from({ length: Math.ceil(256 / steps) }, () => x).flat();
  const start = performance.now();
  let best = Infinity;
  do {
    const before = performance.now();
    model.run(long);
    best = Math.min(best, performance.now() - before);
  } while (performance.now() - start < {{MILLISECONDS}});
  return { difference, microseconds: (best * 1e3) / (long.length / facts.input) };
}

if (globalThis.process?.argv[1] && import.meta.url.endsWith(process.argv[1].split(/[\\/]/).pop())) {
  const { difference, microseconds } = await check();
  console.log(`difference ${difference.toExponential(3)} of the largest output`);
  console.log(`step ${microseconds.toFixed(4)} us`);
  if (!(difference <= {{TOLERANCE}})) process.exitCode = 1;
}
