"""Text in, contiguous streams of tokens out: the data path of a language model.

    corpus = read_corpus("play.txt")                                   # files, folder, hub -> Corpus of Texts
    tokenizer = Tokenizer.train("char", corpus.train)                   # Text   -> Tokenizer
    tokens = tokenize(corpus.train, tokenizer)                         # Text   -> Tokens, memory-mapped
    streams = Streams(tokens.ids, batch_size=32, window=128, start_id=tokenizer.start_id)
    inputs, targets = streams.window(epoch=0, k=0)                      # Tokens -> [T, B], [T, B]

Every arrow is a module: `corpus` (over `files`, `rows` and `faults`), `tokenizer` (over `kinds`), `store`, `streams`.
"""

from selfloop.data.text.corpus import Corpus, read_corpus, read_text
from selfloop.data.text.pieces import Text
from selfloop.data.text.streams import Streams
from selfloop.data.text.token_kinds import KINDS
from selfloop.data.text.token_store import Tokens, tokenize
from selfloop.data.text.tokenizer import Tokenizer

__all__ = ["KINDS", "Corpus", "Streams", "Text", "Tokenizer", "Tokens", "read_corpus", "read_text", "tokenize"]
