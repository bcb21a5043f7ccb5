// peer_llama: bench_model.c's inference in llama.cpp, as the npm package node-llama-cpp ships it (prebuilt, for the processor at hand).
// Same questions and answers as bench.h; the evaluation is called through the package's binding, below its queues, so that llama.cpp's own
// speed is measured.  Decoding is given its tokens: no time goes into sampling.
// usage: node peer_llama.mjs MODULES FILE.gguf VOCAB      MODULES: the node_modules folder that holds node-llama-cpp; VOCAB: its tokens
//   prefill N THREADS   decode THREADS   opened   first N THREADS   logits N THREADS   about   peak
// first: from the call that opens the model to the likeliest token after N, in a new process; Node's own start does not count.
import {readFileSync} from "node:fs";
import {pathToFileURL} from "node:url";
import {createInterface} from "node:readline";

const PROMPT = 16, DECODED = 128, SHARE = 16, SAMPLES = 32;
const timed = Number(process.env.SMFT_BENCH_SECONDS) > 0 ? Number(process.env.SMFT_BENCH_SECONDS) : 0.5;

// ---- the model ----

async function open(modules, path) {
  const {getLlama, LlamaLogLevel} = await import(pathToFileURL(`${modules}/node-llama-cpp/dist/index.js`).href);
  const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error, progressLogs: false});
  const bindings = llama._bindings;
  const begin = performance.now();
  const model = new bindings.AddonModel(path, {addonExports: bindings, gpuLayers: 0, useMmap: true});
  if (!await model.init())
    throw new Error(`llama.cpp cannot load ${path}`);
  const opened = performance.now() - begin;
  return {bindings, model, opened, about: bindings.systemInfo()};
}

async function makeContext({bindings, model}, size) {
  const context = new bindings.AddonContext(model, {contextSize: size, batchSize: size, sequences: 1, threads: 1, flashAttention: "auto"});
  if (!await context.init())
    throw new Error("llama.cpp cannot make a context");
  context.initBatch(size);
  return context;
}

function randomIds(vocab, n) {
  const ids = new Uint32Array(n);
  let seed = 1n;
  for (let i = 0; i < n; i++) {
    seed = BigInt.asUintN(64, seed * 6364136223846793005n + 1442695040888963407n);
    ids[i] = Number((seed >> 33n) % BigInt(vocab));
  }
  return ids;
}

async function feed(context, first, ids) { // logits of the last alone; returns where they are
  const at = context.addToBatch(0, first, ids, Uint32Array.of(ids.length - 1));
  await context.decodeBatch();
  return at[0];
}

// ---- work ----

class Work {
  constructor(opened, vocab) {
    this.opened = opened;
    this.vocab = vocab;
  }

  async context(size, threads) {
    if (this.size !== size) {
      await this.current?.dispose();
      this.current = await makeContext(this.opened, size);
      this.size = size;
      this.ids = randomIds(this.vocab, size);
    }
    this.current.setThreads(threads);
    return this.current;
  }

  async prefill(n, threads) {
    const context = await this.context(n, threads);
    return async () => {
      context.disposeSequence(0);
      context.initBatch(n);
      await feed(context, 0, this.ids);
      return n;
    };
  }

  async decode(threads) {
    const size = PROMPT + DECODED, context = await this.context(size, threads);
    let at = PROMPT;
    context.disposeSequence(0);
    context.initBatch(size);
    await feed(context, 0, this.ids.subarray(0, PROMPT));
    return async () => {
      if (at === size) {
        context.removeTokenCellsFromSequence(0, PROMPT, -1);
        at = PROMPT;
      }
      for (const end = at + SHARE; at < end; at++) {
        context.initBatch(1);
        await feed(context, at, this.ids.subarray(at, at + 1));
      }
      return SHARE;
    };
  }

  async first(n, threads) {
    const begin = performance.now(), context = await this.context(n, threads);
    context.initBatch(n);
    const at = await feed(context, 0, this.ids);
    const sampler = new this.opened.bindings.AddonSampler(this.opened.model);
    sampler.applyConfig({temperature: 0});
    const next = await context.sampleToken(at, sampler);
    return {ms: this.opened.opened + performance.now() - begin, next};
  }

  async logits(n, threads) {
    const context = await this.context(n, threads);
    context.disposeSequence(0);
    context.initBatch(n);
    const at = await feed(context, 0, this.ids);
    const wanted = Array.from({length: SAMPLES}, (_, i) => Math.floor(i * this.vocab / SAMPLES));
    const sampler = new this.opened.bindings.AddonSampler(this.opened.model);
    sampler.applyConfig({temperature: 0});
    const [next, , , pairs] = await context.sampleToken(at, sampler, false, false, [wanted, false, false, false, 0]);
    const found = new Map();
    for (let i = 0; i < pairs.length; i += 2)
      found.set(pairs[i], pairs[i + 1]);
    return {numbers: wanted.map((id) => found.get(id)), next};
  }
}

// ---- timing, as bench.h ----

function busy() {
  const f = readFileSync("/proc/stat", "latin1").split("\n")[0].trim().split(/\s+/).slice(1, 8).map(Number);
  return (f[0] + f[1] + f[2] + f[5] + f[6]) / 100;
}
const own = () => process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6;
const clock = () => performance.now() / 1e3;

async function workFor(work, seconds) {
  const begin = clock();
  let units = 0, pieces = 0;
  do {
    units += await work();
    pieces++;
  } while (clock() - begin < seconds);
  return [units, pieces];
}

let piece = 0;
async function rate(work, fresh) {
  if (fresh || piece < timed)
    await workFor(work, timed / 2);
  const before = busy(), mine = own(), begin = clock();
  const [units, pieces] = await workFor(work, timed);
  const took = clock() - begin;
  piece = took / pieces;
  return {rate: units / took, unit: piece, others: Math.max(0, (busy() - before - (own() - mine)) / took)};
}

function peak() {
  const status = readFileSync("/proc/self/status", "latin1");
  const megabytes = (name) => Math.round(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) * 0.01024) / 10;
  return {peak_mb: megabytes("VmHWM"), now_mb: megabytes("VmRSS"), file_mb: megabytes("RssFile")};
}

// ---- questions ----

async function main() {
  const [modules, path, vocab] = process.argv.slice(2);
  if (!(vocab > 0)) {
    console.error("usage: node peer_llama.mjs MODULES FILE.gguf VOCAB, with questions on standard input");
    process.exit(2);
  }
  const opened = await open(modules, path);
  const work = new Work(opened, Number(vocab));
  let before = null, current = null;
  for await (const line of createInterface({input: process.stdin})) {
    const [name, ...words] = line.trim().split(" ");
    const numbers = words.map(Number);
    let answer;
    if (name === "opened")
      answer = {ms: opened.opened};
    else if (name === "about")
      answer = {text: opened.about};
    else if (name === "peak")
      answer = peak();
    else if (name === "logits" || name === "first")
      answer = await work[name](...numbers);
    else if (name === "prefill" || name === "decode") {
      const fresh = line !== before;
      if (fresh)
        current = await work[name](...numbers);
      answer = await rate(current, fresh);
    } else
      throw new Error(`there is no task ${name}`);
    if (name !== "peak")
      before = line;
    console.log(JSON.stringify(answer));
  }
  process.exit(0);
}

main().catch((error) => {
  console.log(JSON.stringify({error: String(error?.message ?? error)}));
  process.exit(1);
});
