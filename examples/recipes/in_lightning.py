"""Lightning: the layer inside a LightningModule, with a checkpoint that is read back."""

import tempfile

import lightning
import torch
from first_symbol import FirstSymbol, sequences
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Module(lightning.LightningModule):
    def __init__(self, hidden_size: int = 32):
        super().__init__()
        self.save_hyperparameters()
        self.model = FirstSymbol(hidden_size)

    def training_step(self, batch, batch_idx):
        tokens, first = batch
        return F.cross_entropy(self.model(tokens), first)

    def validation_step(self, batch, batch_idx):
        tokens, first = batch
        self.log("accuracy", (self.model(tokens).argmax(-1) == first).float().mean())

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.01)


lightning.seed_everything(0, verbose=False)
training = DataLoader(TensorDataset(*sequences(2048, seed=1)), batch_size=64, shuffle=True)
validation = DataLoader(TensorDataset(*sequences(512, seed=2)), batch_size=512)
with tempfile.TemporaryDirectory() as folder:
    trainer = lightning.Trainer(
        max_epochs=5,
        accelerator="cpu",
        gradient_clip_val=1.0,
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), training, validation)
    again = Module.load_from_checkpoint(trainer.checkpoint_callback.best_model_path)

tokens, first = sequences(512, seed=2)
print(f"accuracy {(again.model(tokens).argmax(-1) == first).float().mean():.3f}")
