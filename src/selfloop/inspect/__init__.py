"""Looking inside: pictures of what a model does."""

from selfloop.inspect.attention import draw_attention, draw_attentions
from selfloop.inspect.confusion import draw_confusion
from selfloop.inspect.contact_sheet import draw_contact_sheet
from selfloop.inspect.gradient_flow import GradientFlow, draw_gradient_flow, gradient_flow
from selfloop.inspect.timeline import draw_timeline

__all__ = [
    "GradientFlow",
    "draw_attention",
    "draw_attentions",
    "draw_confusion",
    "draw_contact_sheet",
    "draw_gradient_flow",
    "draw_timeline",
    "gradient_flow",
]
