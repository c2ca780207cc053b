"""What mypy and pyright are to make of functions and sketches: checked, never run."""

from typing import assert_type

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

from sklearn_rnla import (
    linalg,
    linear_cka,
    lora_init,
    neural,
    nystroem_attention,
    plotting,
    randomized_svd,
    representation_spectrum,
    select_neurons,
)
from sklearn_rnla._typing import Array, Tensor
from sklearn_rnla.operators import KernelMatrix
from sklearn_rnla.sketching import Gaussian, Sketch

rng = np.random.default_rng(0)
A = rng.standard_normal((50, 20))
G = A.T @ A

svd = randomized_svd(sp.csr_array(A), 5, algorithm="gram", random_state=rng)
assert_type(svd, linalg.SVD)
svd.U.mean(axis=0)
assert_type(svd.error_estimate, float)
U, s, Vt = svd[:3]
assert_type(linalg.one_view_svd(iter([A, A]), 3), linalg.RightSVD)
assert_type(linalg.randomized_eigh(aslinearoperator(G), 3), linalg.Eigh)
assert_type(linalg.trace(G, assume_a="pos"), linalg.Trace)
assert_type(linalg.rpcholesky(KernelMatrix("rbf", A), 5), linalg.PivotedCholesky)
assert_type(linalg.lstsq(A.tolist(), A[:, 0]), linalg.LeastSquares)
assert_type(linalg.leverage_scores(A, of="columns"), Array)
assert_type(linalg.cur(A, 3, 3, method="lupp"), linalg.CUR)
assert_type(linalg.interpolative(A, np.int64(3), of="both"), linalg.Interpolation)

S = Gaussian(5, 50).sample(random_state=0)
assert_type(S, Sketch)
assert_type(S @ A, Array)

q = rng.standard_normal((2, 64, 8))
assert_type(nystroem_attention(q, q, q, n_landmarks=8), Tensor)
out, error = nystroem_attention(q, q, q, return_error=True, pinv="exact")
assert_type(error, Array)
assert_type(lora_init(A, 4, method="residual"), neural.LoraInit)
assert_type(linear_cka(A, A).similarity, float)
assert_type(select_neurons(A, A.T, A, 0.5), neural.NeuronSubset)
spectrum = representation_spectrum(A)
plotting.SpectrumDisplay.from_spectra({"layer": spectrum}).plot(
    kind="cumulative"
).ax_.get_title()

randomized_svd(A, "5")  # type: ignore[arg-type]
linalg.leverage_scores(A, of="cols")  # type: ignore[arg-type]
