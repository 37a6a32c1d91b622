"""skorch: the model as an estimator of scikit-learn, in a search over hidden sizes."""

import torch
from first_symbol import FirstSymbol, sequences
from sklearn.model_selection import GridSearchCV
from skorch import NeuralNetClassifier
from skorch.callbacks import GradientNormClipping

torch.manual_seed(0)
net = NeuralNetClassifier(
    FirstSymbol,
    criterion=torch.nn.CrossEntropyLoss,
    optimizer=torch.optim.AdamW,
    lr=0.01,
    batch_size=64,
    max_epochs=5,
    train_split=None,
    callbacks=[GradientNormClipping(1.0)],
    verbose=0,
)
tokens, first = (v.numpy() for v in sequences(1024, seed=1))
search = GridSearchCV(net, {"module__hidden_size": [16, 32]}, cv=2, scoring="accuracy")
search.fit(tokens, first)

tokens, first = (v.numpy() for v in sequences(512, seed=2))
print(f"accuracy {search.score(tokens, first):.3f}, {search.best_params_['module__hidden_size']} units")
