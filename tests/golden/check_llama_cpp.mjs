// What llama.cpp makes of an exported GGUF: greedy tokens and likelihoods (check_llama_cpp.py has the other side).
// usage: NODE_LLAMA_CPP=.../node_modules/node-llama-cpp node check_llama_cpp.mjs CASES.json MODEL.gguf > out.json
// CASES.json: {prompts: [text], ids: [[id]], steps: tokens after each prompt, pieces: [[id]]}.  Out: "ids": the prompts as llama.cpp
// encodes them; "greedy": its tokens after the ids of CASES; "nll": sum and number of -log p of each id of a piece after those before.
import fs from "node:fs";
import path from "node:path";
import {pathToFileURL} from "node:url";

const {getLlama, LlamaLogLevel} = await import(pathToFileURL(path.join(process.env.NODE_LLAMA_CPP, "dist/index.js")).href);
const cases = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: 2});
const model = await llama.loadModel({modelPath: process.argv[3]});
const context = await model.createContext({contextSize: 512, threads: 2});
const sequence = context.getSequence();
const out = {ids: [], greedy: [], nll: 0, n: 0};
for (const text of cases.prompts ?? [])
    out.ids.push([...(model.tokens.shouldPrependBosToken ? [model.tokens.bos] : []), ...model.tokenize(text, false)]);
for (const ids of cases.ids) {
    await sequence.clearHistory();
    const tokens = [];
    for await (const token of sequence.evaluate(ids, {temperature: 0, yieldEogToken: true})) {
        tokens.push(token);
        if (tokens.length === cases.steps)
            break;
    }
    out.greedy.push(tokens);
}
for (const piece of cases.pieces) {
    await sequence.clearHistory();
    const input = piece.slice(0, -1).map((id) => [id, {generateNext: {probabilities: true}}]);
    await sequence.controlledEvaluate(input, {onTokenResult(i, result) {
        out.nll -= Math.log(result.next.probabilities.get(piece[i + 1]));
        out.n++;
    }});
}
fs.writeSync(1, JSON.stringify(out) + "\n");
process.exit(0);
