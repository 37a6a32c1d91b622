/** What {{MODULE}} has, for TypeScript. */

/** What a file is given as: where it is, or its bytes. */
type Source = URL | string | ArrayBuffer | ArrayBufferView;

/** What the model is. */
export interface Facts {
  /** The equations. */
  title: string;
  /** What a step reads: floats, one number below `vocabulary`, or the whole numbers of a word. */
  reads: "numbers" | "token" | "word";
  /** How many numbers a step reads. */
  input: number;
  /** How many numbers an answer has. */
  output: number;
  /** How many tokens there are; 0 where it reads none. */
  vocabulary: number;
  /** Floats of a session; 0 where the model must see the end of a sequence before it answers. */
  state: number;
  /** Floats for each step of a run, where there are no sessions. */
  room: number;
  /** Whether a sequence has one answer; else each step has one. */
  isPooled: boolean;
  /** Whether answers are logits of the next token. */
  samples: boolean;
  /** Whether answers are those of a task; else they are the outputs of a stack. */
  hasReadout: boolean;
  /** Of the numbers of an answer. */
  labels: string[] | null;
  /** What `Text` is made of. */
  tokenizer: object | null;
  /** What `Words` is made of. */
  words: object | null;
}

export declare const facts: Facts;

/** The trained model. */
export declare class Model {
  private constructor();
  /** From text to tokens, and back; null where the model reads no tokens of text. */
  readonly text: Text | null;
  /** From text to words as the model reads them; null where it reads none. */
  readonly words: Words | null;
  /** Load code and weights, from beside the module or from elsewhere. */
  static load(files?: { code?: Source | WebAssembly.Module; weights?: Source }): Promise<Model>;
  /** A text as what `run` reads. */
  read(text: string): number[];
  /** A sequence of its own, step by step. */
  session(): Session;
  /** A whole sequence, from its start: the answer of each step, or a single one where `facts.isPooled`. */
  run(x: ArrayLike<number>): Float32Array;
  /** Writes text, piece by piece. */
  write(options?: {
    prompt?: string;
    tokens?: number;
    temperature?: number;
    topK?: number;
    seed?: number;
  }): Generator<string, void>;
}

/** A sequence, step by step. */
export declare class Session {
  private constructor();
  /** Bytes of memory of a session. */
  static readonly bytes: number;
  /** The model. */
  readonly model: Model;
  /** What drawing goes on from: a whole number from 0 on, below 2^32. */
  get seed(): number;
  set seed(value: number);
  /** Begin anew. */
  reset(): void;
  /** One step; `y` is filled with the answer where it is given. */
  step(x: ArrayLike<number>, y?: Float32Array): Float32Array;
  /** Some steps, from where the session is: the answer of each, or the last one where `facts.isPooled`. */
  run(x: ArrayLike<number>): Float32Array;
  /** A token, drawn with the softmax of the last answer divided by the temperature. */
  sample(options?: { temperature?: number; topK?: number }): number;
  /** The state, to go on from later, here or elsewhere. */
  save(): Uint8Array;
  /** Go on from a state. */
  load(saved: Uint8Array): void;
  /** Give its memory to the next session. */
  close(): void;
}

/** Text as tokens. */
export declare class Text {
  constructor(tokenizer: object);
  readonly kind: "char" | "byte" | "word" | "bpe";
  /** The token that stands before every text. */
  readonly start: number;
  /** What each token stands for; of bytes and BPE a byte is a character from 0 to 255. */
  readonly tokens: string[];
  /** The tokens of a text. */
  encode(text: string): number[];
  /** The text of tokens. */
  decode(tokens: Iterable<number>): string;
  /** A function from the next token to its text, as far as it is whole; null ends the text. */
  decoder(prompt?: string): (token: number | null) => string;
}

/** Words as rows of numbers. */
export declare class Words {
  constructor(words: object);
  /** The words that have a number; the first stands for all others. */
  readonly known: string[];
  /** The words of a text. */
  split(text: string): string[];
  /** The numbers of the words of a text, one row after the other. */
  encode(text: string): number[];
}
