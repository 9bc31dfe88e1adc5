"""Optimizers: every weight in the right group, and learning rates by hand."""

import pytest
import torch
from torch import nn

from text2digit.config import OptimConfig
from text2digit.training.muon import Muon, orthogonalize, turn_gram, turn_matrix
from text2digit.training.optim import learning_rate, make_optimizers, parameter_roles, set_learning_rate

from ..conftest import TINY


def ids(parameters):
    return sorted(map(id, parameters))


def test_each_parameter_has_one_role(model_type):
    model = TINY[model_type]()
    roles = parameter_roles(model)
    assert ids(p for role in roles.values() for p in role) == ids(model.parameters())
    tables = [model.condition_embedding.class_table.weight, model.class_images.table.weight]
    assert ids(roles["table"]) == ids(tables)
    assert all(p.dim() == 1 for p in roles["vector"]) and all(p.dim() >= 2 for p in roles["matrix"])
    named = dict(model.named_parameters())
    outside = ["condition_embedding.time_in.weight"]
    outside += ["patch_in.weight", "patch_out.weight"] if model_type == "DiT" else ["conv_in.weight", "conv_out.weight"]
    assert {id(named[name]) for name in outside} <= set(ids(roles["outer"]))
    matrices = {name for name, p in named.items() if id(p) in ids(roles["matrix"])}
    assert any("attention.to_q" in name for name in matrices)
    assert model_type == "DiT" or any(named[name].dim() == 4 for name in matrices)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_only_matrices_decay(model_type, optimizer):
    """Catches a weight that no optimizer moves, one that two move, and a norm or table that decays."""
    model = TINY[model_type]()
    roles = parameter_roles(model)
    optimizers = make_optimizers(model, OptimConfig(optimizer=optimizer, weight_decay=0.01))
    groups = [group for each in optimizers for group in each.param_groups]
    assert ids(p for group in groups for p in group["params"]) == ids(model.parameters())
    decaying = [p for group in groups if group["weight_decay"] == 0.01 for p in group["params"]]
    assert ids(decaying) == ids([*roles["matrix"], *roles["outer"]])
    assert all(group["weight_decay"] in (0.0, 0.01) for group in groups)
    if optimizer == "muon":
        assert isinstance(optimizers[1], Muon)
        assert ids(optimizers[1].param_groups[0]["params"]) == ids(roles["matrix"])
    set_learning_rate(optimizers, 0.125)
    assert {group["lr"] for group in groups} == {0.125}


def test_a_muon_step_is_as_long_as_an_adamw_step():
    """2502.16982, section 2.2: 0.2 sqrt(max(n, m)) times an orthogonal matrix has entries of 0.2 in the root mean
    square. Catches a learning rate that would need another value for the matrices."""
    model = nn.ModuleList([nn.ModuleList([nn.Linear(64, 256, bias=False)])])
    weight = model[0][0].weight
    before = weight.detach().clone()
    _, muon = make_optimizers(nn.Sequential(model, nn.Conv2d(1, 1, 3)), OptimConfig(optimizer="muon", weight_decay=0))
    set_learning_rate([muon], 1e-3)
    torch.manual_seed(0)
    weight.grad = torch.randn_like(weight)
    muon.step()
    step = (weight.detach() - before) / 1e-3
    assert step.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.25)


def test_muon_without_matrices_is_refused():
    with pytest.raises(ValueError, match="a model whose blocks have no matrices; use adamw"):
        make_optimizers(nn.Linear(2, 2), OptimConfig(optimizer="muon"))


@pytest.mark.parametrize("shape", [(24, 64), (64, 24), (32, 32)], ids=str)
def test_orthogonalized_matrices_keep_their_singular_vectors(shape):
    """Beside the singular value decomposition: U S V becomes U S' V with S' near 1. Catches a wrong coefficient, a
    transposed product, and an iteration that has not converged."""
    torch.manual_seed(0)
    matrix = torch.randn(*shape)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    inside = u.T @ orthogonalize(matrix) @ v.T
    assert (inside - inside.diag().diag()).abs().max() < 1e-3
    assert inside.diag().min() > 0.6 and inside.diag().max() < 1.3
    assert orthogonalize(torch.zeros(shape)).abs().max() == 0


@pytest.mark.parametrize("rank", [3, 24])
def test_both_ways_to_turn_agree(rank):
    """Most gradients have a few large singular values and many tiny ones, whose squares drown in float32's rounding.
    Catches a Gram matrix that lags a turn behind, and one whose rounding is blown up."""
    torch.manual_seed(0)
    x = torch.randn(24, rank) @ torch.randn(rank, 200)
    x /= x.norm()
    in_double, gram = x.double(), turn_gram(x, 5)
    for _ in range(5):
        g = in_double @ in_double.T
        in_double = 3.4445 * in_double + (-4.7750 * g + 2.0315 * g @ g) @ in_double
    assert (gram - in_double).norm() < 1e-3 * in_double.norm()
    if rank == 24:  # bfloat16's own rounding of x has a rank, and is made orthogonal too
        assert (turn_matrix(x, 5) - in_double).norm() < 0.1 * in_double.norm()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has Muon from 2.9 on")
def test_muon_is_torch_s():
    """Three steps with decay beside torch.optim.Muon, which iterates in bfloat16. Catches a momentum that is not
    Nesterov's, a wrong factor and coupled decay."""
    torch.manual_seed(0)
    start, gradients = torch.randn(48, 32), torch.randn(3, 48, 32)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    options = {"lr": 0.1, "weight_decay": 0.1, "momentum": 0.9}
    steppers = (Muon([ours], **options), torch.optim.Muon([theirs], **options, adjust_lr_fn="match_rms_adamw"))
    for gradient in gradients:
        for p, stepper in zip((ours, theirs), steppers, strict=True):
            p.grad = gradient.clone()
            stepper.step()
    assert (ours - theirs).norm() < 0.02 * (ours - start).norm()


@pytest.mark.parametrize("shape", [(24, 64), (64, 24), (8, 4, 3, 3)], ids=str)
def test_parameters_that_move_together_move_as_they_would_alone(shape):
    """As GPUs take them, by both ways to turn. Catches a norm over the whole stack, and a step that is handed to
    another parameter than the gradient came from."""
    torch.manual_seed(0)
    starts, gradients = torch.randn(2, 3, *shape)
    ends = []
    for together in (True, False):
        parameters = [nn.Parameter(start.clone()) for start in starts]
        muon = Muon(parameters, lr=0.1)
        for p, gradient in zip(parameters, gradients, strict=True):
            p.grad = gradient.clone()
        with torch.no_grad():
            for alike in [parameters] if together else [[p] for p in parameters]:
                muon._update(alike, **muon.defaults)
        ends.append(torch.stack([p.detach() for p in parameters]))
    assert torch.allclose(*ends, atol=1e-5)
    x = gradients.flatten(2) / torch.linalg.matrix_norm(gradients.flatten(2), keepdim=True)
    alone = torch.stack([turn_matrix(each, 5) for each in x])
    assert (turn_matrix(x, 5) - alone).norm() < 1e-2 * alone.norm()


def test_muon_takes_filters_as_matrices():
    """A 3x3 convolution steps as the matrix from (inputs x window) to outputs. Catches a flattening of the wrong
    side."""
    torch.manual_seed(0)
    filters = nn.Parameter(torch.zeros(8, 4, 3, 3))
    filters.grad = torch.randn(8, 4, 3, 3)
    Muon([filters], lr=1.0, weight_decay=0.0).step()
    rows = filters.detach().flatten(1) / (0.2 * 36**0.5)
    assert torch.linalg.svdvals(rows).sub(1).abs().max() < 0.4
    with pytest.raises(ValueError, match="got a parameter of shape .5,., expected two dimensions or more"):
        Muon([nn.Parameter(torch.zeros(5))])


def test_learning_rate_by_hand():
    config = OptimConfig(lr=1.0, warmup_steps=4, decay="cosine")
    rates = [learning_rate(step, 12, config) for step in range(12)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[8] == pytest.approx(0.5) and 0 < rates[11] < 0.05
    assert learning_rate(8, 12, OptimConfig(lr=1.0, warmup_steps=4, decay="linear")) == pytest.approx(0.5)
    assert learning_rate(11, 12, OptimConfig(lr=1.0, warmup_steps=0, decay="constant")) == 1.0
