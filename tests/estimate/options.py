"""What can be chosen about a run."""

from selfloop.config import Section
from selfloop.options.sections import ExampleSourceOptions, RecurrentOptions
from selfloop.options.training import TrainingOptions


class EstimatorOptions(RecurrentOptions):
    embedding_size: int = 4
    """Of nothing here: series are read as they are."""
    hidden_size: int = 8
    """Units of a layer."""


class EstimateConfig(Section):
    data: ExampleSourceOptions = ExampleSourceOptions()
    model: EstimatorOptions = EstimatorOptions()
    training: TrainingOptions = TrainingOptions()
