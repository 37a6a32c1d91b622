"""Looking inside: pictures of what a model does, and what its recurrent layers hold.

``model.watched(steps)`` gives sequences as the recurrent stack of a trained model reads them. `gates`, `memory` and
`gradient_flow_of` measure on them; `draw_gates`, `draw_units`, `draw_memory` and `draw_gradient_flow` draw what these
find.
"""

from selfloop.inspect.attention import draw_attention, draw_attentions
from selfloop.inspect.confusion import draw_confusion
from selfloop.inspect.contact_sheet import draw_contact_sheet
from selfloop.inspect.gates import Gates, Layer, gates
from selfloop.inspect.gradient_flow import GradientFlow, draw_gradient_flow, gradient_flow, gradient_flow_of
from selfloop.inspect.heat_maps import draw_gates
from selfloop.inspect.memory import Memory, memory
from selfloop.inspect.memory_picture import draw_memory
from selfloop.inspect.probes import Followed, followed
from selfloop.inspect.timeline import draw_timeline
from selfloop.inspect.unit_pictures import draw_units
from selfloop.layers.straight_path import straight_path
from selfloop.tasks.watched import Watched

__all__ = [
    "Followed",
    "Gates",
    "GradientFlow",
    "Layer",
    "Memory",
    "Watched",
    "draw_attention",
    "draw_attentions",
    "draw_confusion",
    "draw_contact_sheet",
    "draw_gates",
    "draw_gradient_flow",
    "draw_memory",
    "draw_timeline",
    "draw_units",
    "followed",
    "gates",
    "gradient_flow",
    "gradient_flow_of",
    "memory",
    "straight_path",
]
