"""The figures: pure functions of arrays, which know no model, no file and no random number.

N generated and M real rows, W features, K classes. Arithmetic is float64 on the CPU, in chunks where a matrix of all
pairs would not fit. Arguments may be of any real dtype.
"""

from collections.abc import Iterator

import torch

from ..pipelines.images import to_unit

# Rows of a matrix of distances that are held at once: 512 x 50,000 float64 are 205 MB.
CHUNK = 512


def moments(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (W,) and covariance (W, W), the latter divided by N - 1.

    Raises:
        ValueError: no matrix, values that are not finite, or fewer rows than two.
    """
    _check_features(features, at_least=2)
    return features.double().mean(dim=0), torch.cov(features.double().T).reshape(features.shape[1], -1)


def frechet_distance(generated: torch.Tensor, real: torch.Tensor) -> float:
    """Fréchet distance of the Gaussians that have the moments of two sets of features.

    It is biased upwards by few images, so compare at equal N only, and with real against real.

    Args:
        generated: (N, W).
        real: (M, W).

    Returns:
        In squared units of the features; 0 for equal moments.

    Source: 1706.08500, equation 6.
    """
    return gaussian_distance(*moments(generated), *moments(real))


def gaussian_distance(mean_a: torch.Tensor, cov_a: torch.Tensor, mean_b: torch.Tensor, cov_b: torch.Tensor) -> float:
    """|mean_a - mean_b|^2 + tr(cov_a + cov_b - 2 (cov_a cov_b)^(1/2)) of means (W,) and covariances (W, W).

    The product's root has the trace of the root of the symmetric A^(1/2) cov_b A^(1/2) with A = cov_a, whose
    eigenvalues are real and 0 or more whatever the rank: no general matrix root, no complex numbers, no ridge.
    """
    mean_a, cov_a, mean_b, cov_b = (x.double() for x in (mean_a, cov_a, mean_b, cov_b))
    values, vectors = torch.linalg.eigh(cov_a)
    root_a = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    trace_of_root = torch.linalg.eigvalsh(root_a @ cov_b @ root_a).clamp(min=0).sqrt().sum()
    return ((mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * trace_of_root).item()


def kernel_distance(generated: torch.Tensor, real: torch.Tensor) -> float:
    """Squared maximum mean discrepancy under the kernel (x·y / W + 1)^3, without bias: it can be negative.

    Over all pairs at once, not averaged over subsets: less variance from the same features.

    Args:
        generated: (N, W).
        real: (M, W).

    Source: 1801.01401, equation 4 and section 4.
    """
    _check_pair(generated, real)
    a, b = generated.double(), real.double()

    def mean_kernel(x: torch.Tensor, y: torch.Tensor, same: bool) -> float:
        total = sum(_kernel(rows, y).sum().item() for rows in x.split(CHUNK))
        if not same:
            return total / (len(x) * len(y))
        # A point paired with itself would make the estimate biased.
        return (total - (x.square().sum(dim=1) / x.shape[1] + 1).pow(3).sum().item()) / (len(x) * (len(x) - 1))

    return mean_kernel(a, a, True) + mean_kernel(b, b, True) - 2 * mean_kernel(a, b, False)


def precision_recall(generated: torch.Tensor, real: torch.Tensor, k: int = 3) -> tuple[float, float]:
    """Shares of generated points within the real manifold, and of real points within the generated one.

    A manifold is the union of balls around its points, each reaching to the point's k-th nearest neighbour.

    Args:
        generated: (N, W).
        real: (M, W); take M = N, for the balls shrink as points are added.
        k: which neighbour, the point itself not counted.

    Returns:
        Precision and recall, in [0, 1].

    Source: 1904.06991, equations 1 and 2.
    """
    _check_pair(generated, real)
    real_radii, generated_radii = neighbour_radii(real, k), neighbour_radii(generated, k)
    return _share_inside(generated, real, real_radii), _share_inside(real, generated, generated_radii)


def density_coverage(generated: torch.Tensor, real: torch.Tensor, k: int = 5) -> tuple[float, float]:
    """Density: in how many real balls a generated point lies, over k. Coverage: share of real balls that hold one.

    Only real points have balls, so an outlier among the generated does not widen anything.

    Args:
        generated: (N, W).
        real: (M, W); take M = N.
        k: the balls reach to the k-th nearest neighbour, the point itself not counted.

    Returns:
        Density, 0 or more and 1 on average for N points of the real distribution; coverage in [0, 1], then
        1 - 2^-k on average.

    Source: 2002.09797, equations 3, 4 and 8.
    """
    _check_pair(generated, real)
    radii = neighbour_radii(real, k)
    inside, covered = 0, torch.zeros(len(real), dtype=torch.bool)
    for _, distances in _distances(generated, real):
        hits = distances <= radii
        inside += int(hits.sum())
        covered |= hits.any(dim=0)
    return inside / (k * len(generated)), covered.double().mean().item()


def neighbour_radii(points: torch.Tensor, k: int) -> torch.Tensor:
    """(N,) distances to the k-th nearest other point.

    Raises:
        ValueError: k out of range.
    """
    if not 1 <= k < len(points):
        raise ValueError(f"k: got {k} for {len(points)} points, expected 1 to {len(points) - 1}; draw more images.")
    radii = []
    for start, distances in _distances(points, points):
        own = torch.arange(len(distances))
        distances[own, start + own] = float("inf")
        radii.append(distances.kthvalue(k, dim=1).values)
    return torch.cat(radii)


def class_diversity(features: torch.Tensor, labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Mean Euclidean distance of two different images of a class.

    Args:
        features: (N, W).
        labels: (N,) in [0, num_classes).
        num_classes: K.

    Returns:
        (K,) float64, in units of the features; NaN for a class of fewer than two images.
    """
    _check_features(features)
    means = []
    for label in range(num_classes):
        points = features[labels == label].double()
        total = sum(distances.sum().item() for _, distances in _distances(points, points))
        pairs = len(points) * (len(points) - 1)
        means.append(total / pairs if pairs else float("nan"))
    return torch.tensor(means, dtype=torch.float64)


def nearest_distances(images: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The nearest real image of each image, by Euclidean distance of pixels.

    The search is by float32 matrix products; the distance of what it finds is exact, so a copy has 0.

    Args:
        images: (N, …) uint8.
        real: (M, …) uint8 of the same shape.

    Returns:
        Distances (N,) float64 with pixels counted in [0, 1], and indices (N,) int64 into `real`.
    """
    if images.shape[1:] != real.shape[1:]:
        raise ValueError(f"images: got shape {tuple(images.shape[1:])}, expected {tuple(real.shape[1:])} as the real.")
    rows, columns = to_unit(images.flatten(1)), to_unit(real.flatten(1))
    squares = columns.square().sum(dim=1)
    nearest = torch.cat([(squares - 2 * part @ columns.T).argmin(dim=1) for part in rows.split(CHUNK)])
    differences = images.flatten(1).double() - real.flatten(1)[nearest].double()
    return differences.square().sum(dim=1).sqrt() / 255, nearest


def memorisation(distances: torch.Tensor, unseen: torch.Tensor) -> tuple[float, float]:
    """Whether images lie nearer to the training images than unseen real ones do.

    Args:
        distances: (N,) of the images to the nearest training image.
        unseen: (M,) of real images that were not trained on.

    Returns:
        The ratio of the medians, and the share of images nearer than the 1st percentile of the unseen. A model that
        copies has a ratio far below 1 and a share far above 0.01; smooth, typical digits alone move both a little.
    """
    threshold = unseen.double().quantile(0.01)
    ratio = distances.double().median() / unseen.double().median()
    return ratio.item(), (distances.double() < threshold).double().mean().item()


def confusion_matrix(asked: torch.Tensor, seen: torch.Tensor, num_classes: int) -> torch.Tensor:
    """(K, K) int64: row = class that was asked for, column = class that the classifier sees."""
    return torch.bincount(asked * num_classes + seen, minlength=num_classes**2).view(num_classes, num_classes)


def _kernel(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x @ y.T / x.shape[1] + 1).pow(3)


def _distances(x: torch.Tensor, y: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
    """Index of the first row, and Euclidean distances (rows, M) float64 of the next `CHUNK` rows of x to all of y."""
    for start in range(0, len(x), CHUNK):
        yield start, torch.cdist(x[start : start + CHUNK].double(), y.double())


def _share_inside(points: torch.Tensor, centres: torch.Tensor, radii: torch.Tensor) -> float:
    """Share of points that lie within the ball of any centre."""
    return sum(int((d <= radii).any(dim=1).sum()) for _, d in _distances(points, centres)) / len(points)


def _check_features(features: torch.Tensor, at_least: int = 1) -> None:
    if features.ndim != 2 or len(features) < at_least:
        raise ValueError(f"features: got shape {tuple(features.shape)}, expected (N, W) with N from {at_least} up.")
    if not features.isfinite().all():
        raise ValueError("features: got values that are not finite; look at the images and the classifier.")


def _check_pair(generated: torch.Tensor, real: torch.Tensor) -> None:
    for features in (generated, real):
        _check_features(features, at_least=2)
    if generated.shape[1] != real.shape[1]:
        raise ValueError(f"features: got widths {generated.shape[1]} and {real.shape[1]}, expected those of one model.")
