"""Hugging Face's Trainer: any module whose forward takes labels and returns a loss."""

import tempfile

import torch
from first_symbol import FirstSymbol, sequences
from torch import nn
from torch.nn import functional as F
from transformers import Trainer, TrainingArguments


class WithLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = FirstSymbol()

    def forward(self, input_ids, labels=None):
        logits = self.model(input_ids)
        return {"logits": logits} if labels is None else {"loss": F.cross_entropy(logits, labels), "logits": logits}


def dataset(count, seed):
    return [{"input_ids": row, "labels": label} for row, label in zip(*sequences(count, seed), strict=True)]


with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder,
        num_train_epochs=5,
        per_device_train_batch_size=64,
        learning_rate=0.01,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        seed=0,
    )
    torch.manual_seed(0)
    trainer = Trainer(
        model=WithLoss(),
        args=arguments,
        train_dataset=dataset(2048, seed=1),
        compute_metrics=lambda told: {"accuracy": (told.predictions.argmax(-1) == told.label_ids).mean()},
    )
    trainer.train()
    metrics = trainer.evaluate(dataset(512, seed=2))
print(f"accuracy {metrics['eval_accuracy']:.3f}")
