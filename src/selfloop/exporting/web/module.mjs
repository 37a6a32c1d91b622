/**
 * {{TITLE}}, written by selfloop: for browsers, Node, Deno and Bun. It needs {{CODE}} and {{WEIGHTS}} beside it.
 *
 *     import { Model } from "./{{MODULE}}";
 *     const model = await Model.load();
 *     const session = model.session();
 *     const y = session.step(x);
 *
 * All numbers lie in one WebAssembly.Memory. Sessions share the weights; each has a state of its own.
 */

/**
 * What the model is.
 *
 * - `reads`: `"numbers"` (floats), `"token"` (one number from 0 on, below `vocabulary`), or `"word"` (whole numbers)
 * - `input`, `output`: how many numbers a step reads, and how many an answer has
 * - `state`: floats of a session; 0 where the model must see the end of a sequence before it answers
 * - `isPooled`: whether a sequence has one answer; else each step has one
 * - `labels`: of the numbers of an answer, or null
 * - `tokenizer`, `words`: what `Text` and `Words` are made of, where the model reads texts, or null
 */
export const facts = {{FACTS}};

const HEAD = 4 * {{HEAD}};
const up = (bytes) => Math.ceil(bytes / 64) * 64;

/** A file as bytes. Node reads files of URLs by itself, browsers fetch them. */
async function bytesOf(source) {
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  if (source.protocol === "file:") {
    const files = "node:fs/promises";
    return (await import(/* webpackIgnore: true */ /* @vite-ignore */ files)).readFile(source);
  }
  const answer = await fetch(source);
  if (!answer.ok) throw new Error(`${source} cannot be read: ${answer.status} ${answer.statusText}.`);
  return new Uint8Array(await answer.arrayBuffer());
}

/** The memory of a module, of which parts are given out, and its functions. */
class Machine {
  constructor(instance) {
    this.memory = instance.exports.memory;
    this.end = up(instance.exports.__heap_base.value);
    this.call = Object.fromEntries(
      Object.entries(instance.exports).map(([name, one]) => [name.replace("{{NAME}}_", ""), one]),
    );
    this.spare = { at: 0, bytes: 0 };
    this.look();
  }

  /** So many bytes more: where they begin. */
  take(bytes) {
    const start = this.end;
    this.end += up(bytes);
    const missing = this.end - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / 65536));
    return start;
  }

  /** Memory that grows moves. */
  look() {
    const { buffer } = this.memory;
    if (this.bytes?.buffer === buffer) return this;
    this.bytes = new Uint8Array(buffer);
    this.floats = new Float32Array(buffer);
    this.words = new Uint32Array(buffer);
    return this;
  }

  /** What steps read, to memory. */
  put(x, at) {
    const { floats, words } = this.look();
    if (facts.reads === "numbers") floats.set(x, at / 4);
    else words.set(x, at / 4);
  }

  /** Memory as floats of their own. */
  get(at, count) {
    return this.look().floats.slice(at / 4, at / 4 + count);
  }

  /** Places for the time of a call, one for each of so many bytes. */
  room(...sizes) {
    const bytes = sizes.reduce((sum, size) => sum + up(size), 0);
    if (bytes > this.spare.bytes) this.spare = { at: this.take(2 * bytes), bytes: 2 * bytes };
    let end = this.spare.at;
    return sizes.map((size) => (end += up(size)) - up(size));
  }
}

function steps(x) {
  const count = x.length / facts.input;
  if (Number.isInteger(count)) return count;
  throw new Error(`A step reads ${facts.input} numbers, and ${x.length} are no whole number of steps.`);
}

/** The trained model. */
export class Model {
  #machine;
  #weights;
  #free = [];

  /** Use `Model.load`. */
  constructor(machine, weights) {
    this.#machine = machine;
    this.#weights = weights;
    /** From text to what the model reads, and back; null where its numbers are no tokens of text. */
    this.text = facts.tokenizer && new Text(facts.tokenizer);
    /** From text to words as the model reads them; null where it reads no words, or they are not known. */
    this.words = facts.words && new Words(facts.words);
  }

  /**
   * A text as what `run` reads: tokens, or the numbers of one word after the other.
   *
   * @param {string} text
   * @returns {number[]}
   */
  read(text) {
    if (this.words) return this.words.encode(text);
    if (!this.text) throw new Error("This model reads no text.");
    const tokens = this.text.encode(text);
    return tokens.length || facts.samples ? tokens : [this.text.start];
  }

  /**
   * Load code and weights, from beside this file or from elsewhere.
   *
   * @param {{code?: URL | string | ArrayBuffer | ArrayBufferView | WebAssembly.Module,
   *   weights?: URL | string | ArrayBuffer | ArrayBufferView}} [files]
   * @returns {Promise<Model>}
   * @throws {Error} a file is missing, or the weights are of another model or damaged.
   */
  static async load({
    code = new URL("./{{CODE}}", import.meta.url),
    weights = new URL("./{{WEIGHTS}}", import.meta.url),
  } = {}) {
    const isCompiled = code instanceof WebAssembly.Module;
    const [module, numbers] = await Promise.all([
      isCompiled ? code : bytesOf(code).then((bytes) => WebAssembly.compile(bytes)),
      bytesOf(weights),
    ]);
    const machine = new Machine(await WebAssembly.instantiate(module, {}));
    const at = machine.take(numbers.length);
    machine.look().bytes.set(numbers, at);
    const wrong = machine.call.check(at, numbers.length);
    if (wrong === 1) throw new Error("The weights are of another model than the code: take {{WEIGHTS}} of one export.");
    if (wrong === 2) throw new Error(`The weights are cut short: there are ${numbers.length} bytes. Load {{WEIGHTS}} again.`);
    if (wrong) throw new Error("The weights have changed since they were written: load {{WEIGHTS}} again.");
    return new Model(machine, at);
  }

  /**
   * A sequence of its own, step by step.
   *
   * @returns {Session}
   */
  session() {
    if (!facts.state) throw new Error("This model must see the end of a sequence before it answers: use model.run(x).");
    return new Session(this, this.#machine, this.#weights, this.#free.pop() ?? this.#machine.take(Session.bytes), (at) =>
      this.#free.push(at),
    );
  }

  /**
   * A whole sequence, from its start.
   *
   * @param {ArrayLike<number>} x the numbers of step 0, then those of step 1, and so on; or tokens
   * @returns {Float32Array} the answer of each step, one after the other; a single one where `facts.isPooled`
   */
  run(x) {
    if (facts.state) {
      const session = this.session();
      const y = session.run(x);
      session.close();
      return y;
    }
    const count = steps(x);
    const answers = facts.isPooled ? facts.output : count * facts.output;
    const [room, given, y] = this.#machine.room(4 * count * facts.room, 4 * x.length, 4 * answers);
    this.#machine.put(x, given);
    this.#machine.call.run(this.#weights, room, given, y, count);
    return this.#machine.get(y, answers);
  }

  /**
   * Writes text, piece by piece: `for (const piece of model.write({ prompt: "A" })) …`.
   *
   * @param {{prompt?: string, tokens?: number, temperature?: number, topK?: number, seed?: number}} [options]
   * @returns {Generator<string>}
   */
  *write({ prompt = "", tokens = 500, temperature = 0.8, topK = 0, seed = 1 } = {}) {
    if (!facts.samples || !this.text) throw new Error("This model writes no text.");
    const session = this.session();
    try {
      session.seed = seed;
      session.run([this.text.start, ...this.text.encode(prompt)]);
      const decode = this.text.decoder(prompt);
      for (let k = 0; k < tokens; k++) {
        const token = session.sample({ temperature, topK });
        const piece = decode(token);
        if (piece) yield piece;
        session.step([token]);
      }
    } finally {
      session.close();
    }
  }
}

/** A sequence, step by step. */
export class Session {
  /** Of a session: its state, what a step reads and answers, a seed, and a state that is saved. */
  static bytes = 2 * up(4 * facts.state) + up(4 * facts.input) + up(4 * facts.output) + 64 + up(HEAD);
  #machine;
  #weights;
  #free;
  #state;
  #x;
  #y;
  #seed;
  #saved;

  constructor(model, machine, weights, at, free) {
    /** The model. */
    this.model = model;
    this.#machine = machine;
    this.#weights = weights;
    this.#free = free;
    this.#state = at;
    this.#x = at + up(4 * facts.state);
    this.#y = this.#x + up(4 * facts.input);
    this.#seed = this.#y + up(4 * facts.output);
    this.#saved = this.#seed + 64;
    this.seed = 1;
    this.reset();
  }

  /** Begin anew. */
  reset() {
    this.#machine.call.reset(this.#weights, this.#state);
  }

  /**
   * One step.
   *
   * @param {ArrayLike<number>} x the numbers of a step, or `[token]`
   * @param {Float32Array} [y] is filled with the answer; a new one if not given
   * @returns {Float32Array} the answer
   */
  step(x, y) {
    const machine = this.#machine;
    if (x.length !== facts.input) throw new Error(`A step reads ${facts.input} numbers. It was given ${x.length}.`);
    if (facts.reads !== "token") machine.put(x, this.#x);
    machine.call.step(this.#weights, this.#state, facts.reads === "token" ? x[0] : this.#x, this.#y);
    if (!y) return machine.get(this.#y, facts.output);
    y.set(machine.look().floats.subarray(this.#y / 4, this.#y / 4 + facts.output));
    return y;
  }

  /**
   * Some steps, from where the session is.
   *
   * @param {ArrayLike<number>} x the numbers of a step after the other, or tokens
   * @returns {Float32Array} the answer of each step; the last one where `facts.isPooled`
   */
  run(x) {
    const count = steps(x);
    const machine = this.#machine;
    const floats = (facts.isPooled ? Math.min(count, 1) : count) * facts.output;
    const [given, y] = machine.room(4 * x.length, 4 * floats);
    machine.put(x, given);
    machine.call.run(this.#weights, this.#state, given, y, count);
    const last = y + 4 * (floats - facts.output);
    if (count) machine.bytes.copyWithin(this.#y, last, last + 4 * facts.output);
    return machine.get(y, floats);
  }

  /**
   * A token, drawn with the softmax of the last answer divided by the temperature.
   *
   * @param {{temperature?: number, topK?: number}} [options] a temperature of 0 takes the likeliest; with `topK`, only so
   *   many of the likeliest can be drawn
   * @returns {number}
   */
  sample({ temperature = 1, topK = 0 } = {}) {
    if (!facts.samples) throw new Error("This model does not answer with tokens.");
    return this.#machine.call.sample(this.#y, temperature, topK, this.#seed);
  }

  /** What drawing goes on from: a whole number from 0 on, below 2^32. The same seed draws the same tokens. */
  get seed() {
    return this.#machine.look().words[this.#seed / 4];
  }

  set seed(value) {
    this.#machine.look().words[this.#seed / 4] = value;
  }

  /**
   * The state, to go on from later, here or elsewhere.
   *
   * @returns {Uint8Array}
   */
  save() {
    this.#machine.call.save(this.#weights, this.#state, this.#saved);
    return this.#machine.look().bytes.slice(this.#saved, this.#saved + HEAD + 4 * facts.state);
  }

  /**
   * Go on from a state.
   *
   * @param {Uint8Array} saved by `save`, with the same weights
   * @throws {Error} it is of another model.
   */
  load(saved) {
    const wanted = HEAD + 4 * facts.state;
    if (saved.length === wanted) this.#machine.look().bytes.set(saved, this.#saved);
    if (saved.length !== wanted || this.#machine.call.load(this.#weights, this.#state, this.#saved))
      throw new Error("The state was saved with other weights or by another model.");
  }

  /** Give its memory to the next session. */
  close() {
    this.#free?.(this.#state);
    this.#free = undefined;
  }
}

const SPACE = /\p{White_Space}+/u;
const WORD =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** Text as tokens: characters, bytes, words, or pairs of bytes (BPE), as the tokenizer of the run has them. */
export class Text {
  #unknown;
  #numbers;
  #merges;

  /** @param {object} tokenizer of `facts` */
  constructor({ kind, tokens, start, unknown, merges }) {
    /** `"char"`, `"byte"`, `"word"` or `"bpe"`. */
    this.kind = kind;
    /** The token that stands before every text. */
    this.start = start;
    this.#unknown = unknown;
    /** What each token stands for; of bytes and BPE a byte is a character from 0 to 255. */
    this.tokens = tokens;
    this.#numbers = new Map(tokens.map((text, number) => [text, number]));
    this.#merges = new Map((merges ?? []).map(([a, b, made], rank) => [`${a} ${b}`, { rank, made }]));
  }

  /**
   * The tokens of a text.
   *
   * @param {string} text
   * @returns {number[]}
   */
  encode(text) {
    const known = (part) => this.#numbers.get(part) ?? this.#unknown;
    if (this.kind === "char") return Array.from(text, known);
    if (this.kind === "word") return text.replaceAll("\n", " \n ").split(/[^\P{White_Space}\n]+/u).filter(Boolean).map(known);
    const octets = (part) => Array.from(new TextEncoder().encode(part), (octet) => known(String.fromCharCode(octet)));
    if (this.kind === "byte") return octets(text);
    return (text.match(WORD) ?? []).flatMap((part) => this.#merged(octets(part)));
  }

  /** Pairs become one token, the pair that was learnt first before the others. */
  #merged(parts) {
    for (;;) {
      let first = { rank: Infinity };
      for (let k = 0; k + 1 < parts.length; k++) {
        const found = this.#merges.get(`${parts[k]} ${parts[k + 1]}`);
        if (found && found.rank < first.rank) first = { ...found, k };
      }
      if (first.rank === Infinity) return parts;
      parts.splice(first.k, 2, first.made);
    }
  }

  /**
   * The text of tokens.
   *
   * @param {Iterable<number>} tokens
   * @returns {string}
   */
  decode(tokens) {
    const decode = this.decoder();
    return Array.from(tokens, (token) => decode(token)).join("") + decode(null);
  }

  /**
   * A function from the next token to its text, as far as it is whole; null ends the text.
   *
   * @param {string} [prompt] that the text goes on from
   * @returns {(token: number | null) => string}
   */
  decoder(prompt = "") {
    if (this.kind === "char") return (token) => (token === null ? "" : this.tokens[token]);
    if (this.kind === "word") {
      let space = prompt === "" || SPACE.test(prompt.at(-1)) ? "" : " ";
      return (token) => {
        if (token === null) return "";
        const text = this.tokens[token];
        const piece = text === "\n" ? text : space + text;
        space = text === "\n" ? "" : " ";
        return piece;
      };
    }
    const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
    return (token) => {
      if (token === null) return utf8.decode();
      return utf8.decode(Uint8Array.from(this.tokens[token], (octet) => octet.charCodeAt(0)), { stream: true });
    };
  }
}

const [CAPITAL, DIGIT, LETTER, CASED, IGNORED, OF_WORD, ANY_SPACE] = [1, 2, 4, 8, 16, 32, 64];
const ENDS = ["s", "re", "ve", "ll", "d", "m"];
const SIGMA = 0x3a3;
const LAST_SIGMA = 0x3c2;

/**
 * Words as rows of numbers: the number of a word, the letters of its spelling, those of its shape. What is a letter, and
 * its lower case, the tables of the run say: engines differ in their Unicode.
 */
export class Words {
  #numbers;
  #splitsMarks;
  #letters;
  #lower;
  #longer;
  #starts;
  #flags;

  /** @param {object} words of `facts` */
  constructor({ known, splitsMarks, kinds, lower, longer, letters }) {
    /** The words that have a number; the first stands for all others. */
    this.known = known;
    this.#numbers = new Map(known.map((word, number) => [word, number]));
    this.#splitsMarks = splitsMarks;
    this.#letters = letters;
    this.#lower = lower;
    this.#longer = new Map(longer);
    let start = 0;
    this.#starts = kinds.map(([further]) => (start += further));
    this.#flags = kinds.map(([, flags]) => flags);
  }

  /**
   * The words of a text.
   *
   * @param {string} text
   * @returns {string[]}
   */
  split(text) {
    const points = Array.from(text, (letter) => letter.codePointAt(0));
    const words = [];
    for (let at = 0; at < points.length; ) {
      const end = this.#splitsMarks ? this.#endOfWord(points, at) : this.#endOfLetters(points, at);
      if (end > at) words.push(points.slice(at, end).map((point) => String.fromCodePoint(point)).join(""));
      at = Math.max(end, at + 1);
    }
    return words;
  }

  /**
   * The numbers of the words of a text, one row after the other; an empty text is one empty word.
   *
   * @param {string} text
   * @returns {number[]}
   */
  encode(text) {
    const words = this.split(text);
    return (words.length ? words : [""]).flatMap((word) => this.#row(word));
  }

  #flagsOf(point) {
    let [low, high] = [0, this.#starts.length]; // the last entry that begins at the point or before it
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.#starts[middle] <= point) low = middle;
      else high = middle;
    }
    return this.#flags[low];
  }

  #is(points, at, flag) {
    return at < points.length && (this.#flagsOf(points[at]) & flag) !== 0;
  }

  /** Where the next white space is. */
  #endOfLetters(points, at) {
    while (at < points.length && !this.#is(points, at, ANY_SPACE)) at++;
    return at;
  }

  /** Where a word ends that begins here, as in the Penn Treebank: marks stand alone, and don't is do n't. */
  #endOfWord(points, at) {
    let end = at;
    while (this.#is(points, end, OF_WORD)) if (this.#isSpelt(points, ++end, "n't")) return end;
    if (this.#isSpelt(points, at, "n't")) return at + 3;
    const ending = points[at] === 39 && ENDS.find((letters) => this.#isSpelt(points, at + 1, letters));
    if (ending) return at + 1 + ending.length;
    return end > at || this.#is(points, at, ANY_SPACE) ? end : at + 1;
  }

  /** Whether letters stand here, in either case, before the end of a word. */
  #isSpelt(points, at, letters) {
    const small = (point) => (point === 0x17f ? 115 : point >= 65 && point <= 90 ? point + 32 : point);
    const isThere = Array.from(letters).every((letter, k) => small(points[at + k]) === letter.charCodeAt(0));
    return isThere && !this.#is(points, at + letters.length, OF_WORD);
  }

  #row(word) {
    const points = Array.from(word, (letter) => letter.codePointAt(0));
    const lower = this.#lowered(points);
    const shape = points.map((point) => {
      const flags = this.#flagsOf(point);
      return flags & CAPITAL ? 88 : flags & DIGIT ? 68 : flags & LETTER ? 76 : point; // X, D, L
    });
    const number = this.#numbers.get(lower.map((point) => String.fromCodePoint(point)).join("")) ?? 0;
    return [number, ...this.#kept(lower), ...this.#kept(shape)];
  }

  /** The letters that are read, of a long word the first and the last ones; with zeros after them. */
  #kept(points) {
    const half = this.#letters / 2;
    const read = points.length > this.#letters ? [...points.slice(0, half), ...points.slice(-half)] : points;
    return [...read, ...new Array(this.#letters - read.length).fill(0)];
  }

  /** Letters in lower case, as Python has them. */
  #lowered(points) {
    let isAfterLetter = false;
    return points.flatMap((point, k) => {
      const flags = this.#flagsOf(point);
      const isLast = point === SIGMA && isAfterLetter && this.#isLast(points, k + 1);
      if (!(flags & IGNORED)) isAfterLetter = (flags & CASED) !== 0;
      return isLast ? LAST_SIGMA : this.#lowerOf(point);
    });
  }

  /** Whether a word ends behind a sigma, with nothing more that has a case. */
  #isLast(points, at) {
    while (this.#is(points, at, IGNORED)) at++;
    return !this.#is(points, at, CASED);
  }

  #lowerOf(point) {
    if (this.#longer.has(point)) return this.#longer.get(point);
    const [first, , step, shift] = this.#lower.find(([, last]) => point <= last) ?? [Infinity];
    return point < first || (point - first) % step ? point : point + shift;
  }
}
