"""The figures against closed forms, cases worked out by hand, and the libraries that others use."""

import math

import numpy as np
import pytest
import scipy.linalg
import sklearn.metrics
import torch
from sklearn.neighbors import NearestNeighbors

from text2digit.evaluation import metrics


def gaussians(count, width, seed=0, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator, dtype=torch.float64)
    return torch.randn(count, width, generator=generator, dtype=torch.float64) @ mixing + shift


def line(*values):
    """Points on a line, as features of width 1."""
    return torch.tensor(values, dtype=torch.float64)[:, None]


# Fréchet distance


def test_frechet_of_known_gaussians():
    """Diagonal: |m|^2 + sum (s - t)^2 = 9 + 1 + 16. Catches the trace term without its factor 2."""
    mean, scales, others = torch.tensor([3.0, 0.0]), torch.tensor([1.0, 2.0]), torch.tensor([2.0, 6.0])
    found = metrics.gaussian_distance(mean, scales.square().diag(), torch.zeros(2), others.square().diag())
    assert found == pytest.approx(26, abs=1e-10)


def test_frechet_where_covariances_do_not_commute():
    """SciPy's general matrix root of the product; catches sqrt(A) sqrt(B), and a product of the wrong order."""
    a, b = gaussians(60, 8, 1), gaussians(70, 8, 2, shift=0.3)
    mean_a, cov_a, mean_b, cov_b = (x.numpy() for x in (*metrics.moments(a), *metrics.moments(b)))
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    expected = ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root)
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert metrics.frechet_distance(b, a) == pytest.approx(expected, rel=1e-9)


def test_frechet_of_few_points_is_real_and_zero_to_itself():
    """Rank 4 of 16: where sqrtm of the product turns complex."""
    a = gaussians(5, 16)
    assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-4)
    assert metrics.frechet_distance(a, a + 2) == pytest.approx(64, rel=1e-6)


def test_moments_divide_by_n_minus_one():
    features = gaussians(9, 3)
    mean, covariance = metrics.moments(features)
    assert np.allclose(mean, features.numpy().mean(0)) and np.allclose(covariance, np.cov(features.numpy().T))


class Flat(torch.nn.Module):
    """Images as features, so that torchmetrics' distances can be given any features."""

    num_features = 12

    def forward(self, images):
        return images.flatten(1).double()


def test_distances_are_torchmetrics_s():
    """Catches another normalisation of the covariance, and a biased or otherwise scaled kernel."""
    fid = pytest.importorskip("torchmetrics.image.fid", reason="needs the test extra")
    kid = pytest.importorskip("torchmetrics.image.kid", reason="needs the test extra")
    a, b = gaussians(50, 12, 1), gaussians(50, 12, 2, shift=0.2)
    frechet = fid.FrechetInceptionDistance(feature=Flat())
    kernel = kid.KernelInceptionDistance(feature=Flat(), subsets=1, subset_size=50)
    for metric in (frechet, kernel):
        metric.update(a.view(-1, 3, 2, 2), real=True)
        metric.update(b.view(-1, 3, 2, 2), real=False)
    assert metrics.frechet_distance(b, a) == pytest.approx(frechet.compute().item(), rel=1e-6)
    assert metrics.kernel_distance(b, a) == pytest.approx(kernel.compute()[0].item(), rel=1e-6)


# Kernel distance


def test_kernel_distance_by_hand():
    """Features 0, 1 against 2, 3: kernels 1; 343; and 1, 1, 27, 64. Catches pairs of a point with itself."""
    assert metrics.kernel_distance(line(0, 1), line(2, 3)) == pytest.approx(1 + 343 - 2 * (1 + 1 + 27 + 64) / 4)


def test_kernel_distance_has_no_bias():
    """Of two halves of one distribution: zero within 4 standard errors, where the biased one is far above."""
    values = torch.tensor([metrics.kernel_distance(*gaussians(60, 4, seed).split(30)) for seed in range(200)])
    scaled = values / values.std()
    assert abs(scaled.mean()) < 4 / 200**0.5


def test_chunks_change_nothing(monkeypatch):
    a, b = gaussians(23, 4, 1), gaussians(31, 4, 2)
    labels = torch.arange(23) % 3

    def everything():
        pair = (*metrics.precision_recall(a, b), *metrics.density_coverage(a, b))
        return (*pair, metrics.kernel_distance(a, b), *metrics.class_diversity(a, labels, 3).tolist())

    whole = everything()
    monkeypatch.setattr(metrics, "CHUNK", 7)
    assert everything() == pytest.approx(whole, rel=1e-12)


# Manifolds

REAL = line(0, 1, 3, 7)  # radii to the first neighbour 1, 1, 2, 4; to the second 3, 2, 3, 6


def test_radii_do_not_count_the_point_itself():
    assert metrics.neighbour_radii(REAL, 1).tolist() == [1, 1, 2, 4]
    assert metrics.neighbour_radii(REAL, 2).tolist() == [3, 2, 3, 6]
    assert metrics.neighbour_radii(line(5, 5, 9), 1).tolist() == [0, 0, 4]  # a copy is a neighbour


def test_precision_and_recall_by_hand():
    """Catches k off by one, real and generated exchanged, and an edge that is left out."""
    generated = line(-1, 2.5, 2.75, 20)  # radii 3.5, 0.25, 0.25, 17.25
    assert metrics.precision_recall(generated, REAL, k=1) == (3 / 4, 4 / 4)  # -1 is on the edge of 0's ball
    generated = line(-1, -1.5, 12, 12.5)  # radii 0.5: nothing real is within
    assert metrics.precision_recall(generated, REAL, k=1) == (1 / 4, 0)


def test_density_and_coverage_by_hand():
    """-1 is in one ball, 2 in those of 1 and 3, 4 in those of 3 and 7, 30 in none; all four balls hold a point."""
    assert metrics.density_coverage(line(-1, 2, 4, 30), REAL, k=1) == (5 / 4, 1)
    assert metrics.density_coverage(line(-1, -1, 30, 30), REAL, k=2) == (2 * 2 / (2 * 4), 2 / 4)


def test_manifolds_are_those_of_scikit_learn():
    generated, real = gaussians(80, 5, 1), gaussians(90, 5, 2)
    k = 4

    def radii(x):
        return NearestNeighbors(n_neighbors=k + 1).fit(x).kneighbors(x)[0][:, k]

    inside_real = sklearn.metrics.pairwise_distances(generated, real) <= radii(real)
    inside_generated = sklearn.metrics.pairwise_distances(real, generated) <= radii(generated)
    expected = inside_real.any(axis=1).mean(), inside_generated.any(axis=1).mean()
    assert metrics.precision_recall(generated, real, k) == pytest.approx(expected)
    expected = inside_real.sum() / (k * len(generated)), inside_real.any(axis=0).mean()
    assert metrics.density_coverage(generated, real, k) == pytest.approx(expected)


def test_points_of_one_distribution_have_density_one_and_the_expected_coverage():
    """1 - 2^-5, by 2002.09797; catches a density that is not divided by k."""
    points = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0))
    density, coverage = metrics.density_coverage(points[:1000], points[1000:])
    assert density == pytest.approx(1, abs=0.1) and coverage == pytest.approx(1 - 2**-5, abs=0.02)


# Diversity, memorisation, confusion


def test_diversity_of_classes():
    """Catches pairs of an image with itself in the mean, and pairs of two classes."""
    features, labels = line(0, 100, 3, 101, 9), torch.tensor([0, 1, 0, 1, 0])
    assert metrics.class_diversity(features, labels, 3).tolist()[:2] == [(3 + 9 + 6) / 3, 1]
    assert math.isnan(metrics.class_diversity(features, labels, 3)[2])


def test_nearest_image_is_exact():
    """scikit-learn's brute search; a copy has distance 0 although the search is in float32."""
    generator = torch.Generator().manual_seed(0)
    real = torch.randint(0, 256, (300, 1, 28, 28), dtype=torch.uint8, generator=generator)
    images = torch.cat([real[[17]], torch.randint(0, 256, (20, 1, 28, 28), dtype=torch.uint8, generator=generator)])
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(real.flatten(1).double() / 255)
    expected, indices = search.kneighbors(images.flatten(1).double() / 255)
    distances, nearest = metrics.nearest_distances(images, real)
    assert nearest.tolist() == indices[:, 0].tolist() and nearest[0] == 17 and distances[0] == 0
    assert np.allclose(distances, expected[:, 0], atol=1e-6)


def test_memorisation():
    unseen = torch.arange(1, 102)
    assert metrics.memorisation(unseen, unseen) == (1, pytest.approx(1 / 101))
    assert metrics.memorisation(torch.zeros(10), unseen) == (0, 1)


def test_confusion_is_scikit_learn_s():
    """Rows are what was asked for; catches a transposed matrix."""
    asked, seen = torch.tensor([0, 0, 2, 1, 2]), torch.tensor([0, 1, 2, 1, 0])
    expected = sklearn.metrics.confusion_matrix(asked, seen, labels=range(4))
    assert np.array_equal(metrics.confusion_matrix(asked, seen, 4), expected)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: metrics.moments(torch.zeros(1, 4)), r"features: got shape \(1, 4\), expected \(N, W\) with N from 2"),
        (lambda: metrics.moments(torch.full((3, 4), torch.nan)), "features: got values that are not finite"),
        (lambda: metrics.kernel_distance(torch.zeros(3, 4), torch.zeros(3, 5)), "features: got widths 4 and 5"),
        (lambda: metrics.precision_recall(REAL, REAL, k=4), "k: got 4 for 4 points, expected 1 to 3; draw more"),
        (lambda: metrics.nearest_distances(torch.zeros(2, 3), torch.zeros(2, 4)), r"images: got shape \(3,\), exp"),
    ],
)
def test_what_cannot_be_measured_says_why(call, message):
    with pytest.raises(ValueError, match=message):
        call()
