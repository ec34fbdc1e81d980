"""Models that answer something: BatchNorm has the statistics of photos, and the head is fitted on their features."""

import numpy as np
import timm
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn


def fitted(architecture: str, inputs: torch.Tensor, labels: np.ndarray) -> nn.Module:
    """Return a model whose head is a logistic regression on its features of the photos."""
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(architecture, pretrained=False, num_classes=len(set(labels)))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.95  # a channel that varies little would otherwise be blown up, see `build`
    with torch.no_grad():
        model.train()(inputs)
        features = model.eval().forward_head(model.forward_features(inputs), pre_logits=True).numpy()  # type: ignore[operator]
        scaler = StandardScaler().fit(features)
        head = LogisticRegression(C=1.0, max_iter=2000).fit(scaler.transform(features), labels)
        weight = head.coef_ / scaler.scale_
        classifier = model.get_classifier()  # type: ignore[operator]
        classifier.weight.copy_(torch.from_numpy(weight).reshape(classifier.weight.shape))
        classifier.bias.copy_(torch.from_numpy(head.intercept_ - weight @ scaler.mean_))
    return model
