"""The figures a task is judged by, each as its field reports it."""

from selfloop.metrics.captions import caption_bleu, caption_words, cider
from selfloop.metrics.classification import ClassScores, Confusion
from selfloop.metrics.entities import are_spans, span_scores
from selfloop.metrics.segmentation import Segment, edit_score, f1_at, segments
from selfloop.metrics.translation import Score, bleu, chrf

__all__ = [
    "ClassScores",
    "Confusion",
    "Score",
    "Segment",
    "are_spans",
    "bleu",
    "caption_bleu",
    "caption_words",
    "chrf",
    "cider",
    "edit_score",
    "f1_at",
    "segments",
    "span_scores",
]
