// Token ids by llama.cpp: what tests of tokenizers from GGUF files are held against.
// usage: NODE_LLAMA_CPP=.../node_modules/node-llama-cpp node tokenize_llama_cpp.mjs [--texts] TEXTS.json MODEL.gguf... > ids.json
// The fixture of the toys: make_vocab_gguf.py toys tokenizer_gguf, make_tokenizer_texts.py > texts.json, and with --texts and
// tokenizer_gguf/*.gguf into tokenizer_gguf.json.
// TEXTS.json: a list of strings.  Out: an object, for each MODEL its "stops" (ids that end an answer, of those that control
// tokens have) and, for each text, [ids, ids where the names of special tokens in the text are those tokens].
import fs from "node:fs";
import path from "node:path";
import {pathToFileURL} from "node:url";

const home = process.env.NODE_LLAMA_CPP;
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(path.join(home, "dist/index.js")).href);
const keep = process.argv[2] === "--texts";
const [textsPath, ...models] = process.argv.slice(keep ? 3 : 2);
const texts = JSON.parse(fs.readFileSync(textsPath, "utf8"));
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error});
const out = keep ? {texts} : {};
for (const modelPath of models) {
    const model = await llama.loadModel({modelPath, vocabOnly: true});
    const n = model.fileInfo.metadata?.tokenizer?.ggml?.tokens?.length ?? 0;
    const ids = texts.map((text) => [model.tokenize(text, false), model.tokenize(text, true)]);
    const stops = [];
    for (let id = 0; id < n; id++)
        if (model.isEogToken(id))
            stops.push(id);
    out[path.basename(modelPath)] = {bos: model.tokens.bos, eos: model.tokens.eos, stops, ids};
    await model.dispose();
}
fs.writeSync(1, JSON.stringify(out) + "\n");
process.exit(0);
