import pytest
import torch

from trainables.data.balance import class_weights
from trainables.task.classification_loss import Answers, Targets, loss_sum


def test_the_weighted_loss_is_a_sum_that_any_shards_add_up_to() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 3, generator=generator)
    targets = torch.tensor([0] * 8 + [1] * 3 + [2])
    weights = torch.tensor(class_weights(targets.numpy(), 3), dtype=torch.float32)
    whole = loss_sum(logits, Targets(Answers(targets)), weights)
    by_hand = -(weights[targets] * logits.log_softmax(dim=1)[torch.arange(12), targets]).sum()
    shards = [slice(0, 5), slice(5, 9), slice(9, 12)]
    parts = sum(loss_sum(logits[part], Targets(Answers(targets[part])), weights) for part in shards)
    torch.testing.assert_close(whole, by_hand)
    torch.testing.assert_close(parts, whole)
    # The weights are 1 on average, so the mean stays on the scale of the unweighted loss.
    torch.testing.assert_close(
        whole / weights[targets].sum(), torch.nn.functional.cross_entropy(logits, targets, weight=weights)
    )
    assert weights[targets].sum() == pytest.approx(12)


def test_mixed_targets_weigh_both_classes_by_their_shares() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, weights = torch.randn(6, 3, generator=generator), torch.tensor([0.5, 1.0, 4.0])
    labels, partners = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([2, 1, 0, 1, 0, 2])
    shares = torch.rand(6, generator=generator)
    mixed = Targets(Answers(labels), Answers(partners), shares)
    losses = -logits.log_softmax(dim=1)
    rows = torch.arange(6)
    by_hand = (
        shares * weights[labels] * losses[rows, labels] + (1 - shares) * weights[partners] * losses[rows, partners]
    )
    torch.testing.assert_close(loss_sum(logits, mixed, weights), by_hand.sum())
    torch.testing.assert_close(mixed.weights(weights), shares * weights[labels] + (1 - shares) * weights[partners])


def test_the_focal_loss_and_smoothing_are_those_of_their_papers() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(9, 4, generator=generator) * 3, torch.randint(4, (9,), generator=generator)
    ones, rows = torch.ones(4), torch.arange(9)
    logs = logits.log_softmax(dim=1)
    own = logs[rows, labels]
    focal = loss_sum(logits, Targets(Answers(labels)), ones, focal_gamma=2.0)
    torch.testing.assert_close(focal, (-((1 - own.exp()) ** 2) * own).sum())
    smooth = loss_sum(logits, Targets(Answers(labels)), ones, label_smoothing=0.1)
    torch.testing.assert_close(smooth, (-0.9 * own - 0.1 * logs.mean(dim=1)).sum())


def test_the_focal_loss_of_a_sure_answer_has_a_finite_gradient() -> None:
    logits = torch.tensor([[60.0, -60.0]], requires_grad=True)
    loss_sum(logits, Targets(Answers(torch.tensor([0]))), torch.ones(2), focal_gamma=0.5).backward()
    assert torch.isfinite(logits.grad).all()


def test_a_teacher_has_its_share_of_the_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, taught = torch.randn(6, 3, generator=generator), torch.randn(6, 3, generator=generator)
    labels, weights = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([0.5, 1.0, 4.0])
    at_three = (taught / 3).log_softmax(dim=1)
    targets = Targets(Answers(labels, at_three))
    own = (logits / 3).log_softmax(dim=1)
    distance = 9 * (at_three.exp() * (at_three - own)).sum(dim=1)
    from_labels = -logits.log_softmax(dim=1)[torch.arange(6), labels]
    by_hand = (weights[labels] * (0.75 * from_labels + 0.25 * distance)).sum()
    found = loss_sum(logits, targets, weights, teacher_weight=0.25, teacher_temperature=3.0)
    torch.testing.assert_close(found, by_hand)
    # Who answers as the teacher does has nothing to learn from it.
    same = loss_sum(taught, targets, weights, teacher_weight=1.0, teacher_temperature=3.0)
    torch.testing.assert_close(same, torch.tensor(0.0))
