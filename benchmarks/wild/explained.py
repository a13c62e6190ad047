"""Why rules of `rules/` are called wrong, each confirmed by a way that is not the checker's.

The ways are closed forms, mpmath, differences of the package's own function in float64, and the
package's own comments. Numbers such as #2380 are issues of the package.
"""

MEANT, LIMIT, MISTAKE, CHECKER = KINDS = "meant", "limit", "mistake", "checker's mistake"
UNKNOWN = "unexplained"

_NEGATIVE_INFINITY = (
    MISTAKE,
    "where all of a window is -inf, jvp has 0, and vjp gives the cotangent to an entry",
)
_ENTRIES_THAT_ARE_0 = LIMIT, "an entry that is 0 is not stored, and has the derivative 0"
_RANK = LIMIT, "NaN at a matrix of zeros; the decomposition is differentiated at full rank alone"
_DET = MISTAKE, "0 at singular matrices, where the derivative is the matrix of cofactors (#2380)"
_NAN = MISTAKE, "a cotangent of NaN gives a gradient of numbers"
_ABSOLUTE = (
    LIMIT,
    "the backward pass solves up to an absolute error, so that a small cotangent has another "
    "gradient",
)
_SAMPLER = (
    MEANT,
    "the implicit gradient of the distribution; differences see what the sampler rejects",
)
_PERTURBED = MEANT, "the gradient of the smoothed function, estimated from random samples"
_QUANTIZED = MEANT, "gradients pass quantization by, and carry the new scale and history"
_BOX = MEANT, "the identity, whose rule multiplies by the box"
_SIZE = MISTAKE, "0 in the size of the cylinder, where the distance changes by -1"
_GUARDED = (
    LIMIT,
    "close singular values or eigenvalues are kept apart by a number that does not scale",
)
_TRACER = MISTAKE, "raises an UnexpectedTracerError under checkpoint and scan"
_INDICES = LIMIT, "indices of the example that do not fit into fewer rows"
_SECOND = MISTAKE, "the second derivative in a: 0.31636 at a = 2 and p = 0.3, mpmath has 0.06629"

EXPLAINED: dict[str, dict[str, tuple[str, str]]] = {
    "jax_lax": {
        "reduce_precision": (MEANT, "the gradient of rounding is that of the identity, rounded"),
        "stop_gradient": (MEANT, "the gradient is stopped"),
        "pow": (MISTAKE, "NaN in x at (0, 0), where x⁰ is constant (#12409, closed)"),
        "clamp": (MISTAKE, "0 in `max` where x < max < min, though the function is `max` there"),
        "select_and_scatter_add": _NEGATIVE_INFINITY,
        "select_and_gather_add": _NEGATIVE_INFINITY,
    },
    "jax_special": {
        "digamma": (MISTAKE, "the trigamma function of negative numbers (#37635, open)"),
        "igamma": (MISTAKE, "NaN in a at 0, where differences converge to a slope"),
        "igammac": (MISTAKE, "NaN in a at 0, where differences converge to a slope"),
        "random_gamma": _SAMPLER,
        "_erfcx_grad": (MISTAKE, "the second derivative of an array raises a TypeError"),
        "xlogy": (MISTAKE, "NaN in y at (0, 0), where the function is 0 (#15709, closed)"),
        "xlog1py": (MISTAKE, "NaN in y at (0, -1), where the function is 0"),
        "log_ndtr": (MISTAKE, "no digit is right in float32 far in the tail"),
        "poch": (MISTAKE, "NaN in z at 0 and at 102 in float32"),
    },
    "jax_linalg": {
        "eig": (LIMIT, "eigenvectors have derivatives where eigenvalues differ"),
        "qr": _RANK,
        "lu": (MISTAKE, "NaN where the last pivot is 0, which divides nothing"),
        "lu__tall": _RANK,
        "lu__wide": (MISTAKE, "NaN where the last pivot is 0, which divides nothing"),
        "custom_linear_solve__cg": _NAN,
        "_det": _DET,
        "_det_2x2": _DET,
        "_det_3x3": _DET,
    },
    "jax_nn": {
        "_hypot": (MISTAKE, "NaN at (0, 0), a kink where any slope from -1 to 1 would do"),
        "_splash_attention_custom": (
            LIMIT,
            "its values are accurate to 1e-5, where those of the reference are to 3e-6",
        ),
        "gmm": (MISTAKE, "NaN under vmap where a loop over the same numbers has none"),
        "bcoo_fromdense": _ENTRIES_THAT_ARE_0,
        "bcsr_fromdense": _ENTRIES_THAT_ARE_0,
        "csr_fromdense": _ENTRIES_THAT_ARE_0,
        "coo_fromdense": (MISTAKE, "what fills up takes the gradient of an entry (#40624, open)"),
        "bcoo_sum_duplicates": (MISTAKE, "the gradient of an entry that is 0 is lost"),
    },
    "distrax": {
        "power_no_nan": (MISTAKE, "NaN at a base of 0, which it is named for avoiding"),
        "_von_mises_cdf": (LIMIT, "not finite at a negative concentration"),
        "_von_mises_sample": _SAMPLER,
    },
    "lineax": {
        "linear_solve__cg": _ABSOLUTE,
        "linear_solve__normal_cg": _ABSOLUTE,
        "linear_solve__lsmr": _ABSOLUTE,
    },
    "tfp": {
        "_igammainv_custom_gradient": _SECOND,
        "_igammacinv_custom_gradient": _SECOND,
        "_bessel_iv_ratio_custom_gradient__order": (LIMIT, "0 in the order, as its comments say"),
        "hyp2f1_small_argument__broadcast": (MISTAKE, "raises where arguments are broadcast"),
        "_hpsd_quadratic_form_solve_custom_gradient": (
            MISTAKE,
            "2 SᵀdB for dBᵀS + SᵀdB: wrong unless the cotangent is symmetric",
        ),
        "gradient_helper": (MISTAKE, "raises under jit"),
        "gradient_helper__bdf": (MISTAKE, "raises under jit"),
        "rwb_psum": (MEANT, "the gradient is that of one device, as its documentation says"),
        "rwb_pbroadcast": (MEANT, "the gradient is summed over the devices"),
        "_inverse_with_gradient": (MISTAKE, "raises an UnexpectedTracerError if differentiated"),
        "_grad_fn_of_y_with_gradient": _TRACER,
        "_nc2_cdf_naive__df": (MISTAKE, "0 in the degrees of freedom, and no error"),
        "_nc2_quantile_naive__parameters": (MISTAKE, "0 in both parameters, and no error"),
        "_random_gamma_gradient": _SAMPLER,
        "_random_gamma_gradient__log": _SAMPLER,
        "_random_inverse_gaussian_gradient": _SAMPLER,
        "_two_piece_normal_sample_with_gradient": _SAMPLER,
        "_von_mises_sample_with_gradient": _SAMPLER,
        "_prevent_2nd_derivative": _SAMPLER,
    },
    "jaxopt": {
        "_projection_unit_simplex__sparsemax_loss": (
            CHECKER,
            "at two equal numbers of 8.5e37, autodiff of the projection has lost its digits",
        ),
        "forward_pert__argmax": _PERTURBED,
        "forward_pert__max": _PERTURBED,
        "forward_pert__fun": _PERTURBED,
        "solver_fun_flat__box_section": _TRACER,
        **dict.fromkeys(
            [
                f"solver_fun_flat__{solver}"
                for solver in (
                    "gradient_descent", "lbfgs", "bfgs", "nonlinear_cg", "lasso",
                    "block_coordinate_descent", "fixed_point", "anderson", "broyden", "bisection",
                    "gauss_newton", "levenberg_marquardt", "equality_qp", "affine_set", "osqp",
                    "box_cd_qp",
                )
            ],
            _NAN,
        ),
    },
    "diffrax": {
        "fn_wrapped__recursive_checkpoint": (
            CHECKER,
            "the gradient of a captured array is small beside the error of the steps",
        ),
    },
    "tensorcircuit": {
        "adaware_svd": _GUARDED,
        "adaware_svd__wide": _GUARDED,
        "adaware_svd__complex": _GUARDED,
        "adaware_eigh": _GUARDED,
        "adaware_qr": (MISTAKE, "a guard that does not scale: 0.0775 for 0.5315 at 1e-9"),
        "adaware_qr__wide": (MISTAKE, "a guard that does not scale"),
        "modified_bessel_ive_jax": (MISTAKE, "another gradient than differences below 0"),
        "bessel_jv_jax_rescaled": (
            MISTAKE,
            "the function jumps at 2.097: it is -0.0015 at 2.5, where SciPy's J0 is -0.0484",
        ),
        "_projected_exponential": (MISTAKE, "NaN where exp overflows inside, the value does not"),
        "_exponential_with_continuation": (
            MISTAKE,
            "NaN where exp overflows inside, and the value does not",
        ),
    },
    "optax": {"_scale_gradient": (MEANT, "the gradient is scaled")},
    "rlax": {"clip_gradient": (MEANT, "the gradient is clipped")},
    "efax": {
        "log_normalizer__von_mises_fisher": (
            MISTAKE,
            "the function itself is wrong at large parameters: 507 for 528",
        ),
    },
    "exojax": {
        "rewofzx": (MISTAKE, "a term is not multiplied by the cotangent"),
        "hjert": (MISTAKE, "no digit is right in float32 at a small Doppler width"),
    },
    "flax": {
        "in_qdq": _QUANTIZED,
        "out_qdq": _QUANTIZED,
        "in_q": _QUANTIZED,
        "out_dq": _QUANTIZED,
        "quantized_dot": _QUANTIZED,
    },
    "jax_md": {
        "transform": (MEANT, "the gradient is that in real coordinates, as its documentation says"),
        "safe_acos": (MEANT, "the slope is bounded near -1 and 1"),
        "transform_gradients": _BOX,
        "transform_gradients__nonbonded": _BOX,
    },
    "maxtext": {
        **dict.fromkeys(
            ["_attention_reference", "_attention_reference__vanilla"],
            (MISTAKE, "NaN at values of -2.4e38, where autodiff is finite"),
        ),
        "cross_entropy_with_logits": (MEANT, "targets get no gradient, as a comment says"),
    },
    "s2fft": {
        "flm_to_ftm": (CHECKER, "where a number is infinite, rule and function lose other outputs"),
        **dict.fromkeys(["flm_to_ftm__spin", "ftm_to_flm", "ftm_to_flm__reality"], _NAN),
    },
    "copulax": {
        "_log_kv_pos": (LIMIT, "its constants are in float32, so that jvp is accurate to 1e-8"),
    },
    "cuequivariance_jax": {
        "triangle_attention_custom_vjp__all": (
            LIMIT,
            "two further results, lse and amax, pass no gradient",
        ),
    },
    "tjax": {
        "scale_cotangent": (MEANT, "the gradient is scaled"),
        "replace_cotangent": (MEANT, "the gradient is replaced"),
        "copy_cotangent": (MEANT, "the gradient is copied to another argument"),
    },
    "numpyro": {
        "f__log_prob": (MISTAKE, "low and high have the gradients of the density, one negated"),
        "f__cdf": (MISTAKE, "the clip of the cdf is ignored: NaN outside of the support"),
        "f__icdf": (LIMIT, "NaN at a bound of 0, which must be positive"),
    },
    "ott": {
        "norm": (MISTAKE, "under differentiation, the norm of zeros is that of ones"),
        "norm__rows": (MISTAKE, "under differentiation, the norm of zeros is that of ones"),
        "norm__euclidean": (MISTAKE, "under differentiation, the norm of zeros is that of ones"),
        "logsumexp": (MISTAKE, "0 for a limit where a number is infinite"),
        "logsumexp__sign": (MISTAKE, "NaN where all signs are 0"),
        "softmin": (MISTAKE, "NaN where a number is -inf"),
        "softmin__gamma": (LIMIT, "0 in gamma, which has no rule, and no error"),
        "fixpoint_iter": (MISTAKE, "the backward pass reads the states from the wrong end"),
        "iterations": _ABSOLUTE,
        "fn__map": (MISTAKE, "rho is left out of the gradient of h_legendre"),
        "_semidiscrete_loss": (MEANT, "the gradient is that in the potential alone"),
    },
    "matfree": {
        **dict.fromkeys(["_run__tall", "_run__wide", "_run__damped", "_run__damped_wide"], _NAN),
        **dict.fromkeys(
            ["_estimate__hessenberg", "_estimate__hessenberg_once", "_estimate__quadratic_form"],
            (LIMIT, "where a Krylov space ends early, function and rule divide rounding errors"),
        ),
    },
    "tokamax": {
        "f__layer_norm_of_columns": (MISTAKE, "raises or is wrong for another axis than the last"),
    },
    "qwix": dict.fromkeys(
        ["dot_general_qt_fwd_bwd__int8", "conv_general_qt__int8", "ragged_dot_qt"],
        (MEANT, "gradients pass quantization by"),
    ),
    "levanter": {
        "fn_wrapped__soft_cap": (MISTAKE, "1 - tanh² of the soft cap is left out"),
        "fn_wrapped__dropout": (MISTAKE, "the backward pass drops probabilities, not logits"),
        "_dispatch_gather": _INDICES,
        "_expand_compacted": _INDICES,
        "_pooled_dispatch_payload": (LIMIT, "the header holds whole numbers, without a gradient"),
    },
    "distreqx": {
        "power_no_nan": (MISTAKE, "NaN in y at x = 0, where the function is constant or 0"),
    },
    "fmmax": {
        "eig__real": (MISTAKE, "a complex gradient of a real matrix, so that scan raises"),
    },
    "flash_attention_jax": dict.fromkeys(
        ["flash_attention", "causal_flash_attention"],
        (LIMIT, "the running maximum begins at -1e6, below which all scores are 0"),
    ),
    "logbesselk": {
        "log_bessel_k__order": (LIMIT, "0 in the order, whose gradient is stopped"),
    },
    "jax_galsim": {
        "kv__order": (LIMIT, "0 in the order, as its docstring says"),
    },
    "jaxoplanet": {
        "zero_safe_sqrt": (LIMIT, "numbers below ten times eps count as 0 in the gradient"),
    },
    "probdiffeq": {
        "qr_r": (MEANT, "the orthogonal factor counts as constant, as its comments say"),
    },
    "mjx": {
        "_cylinder": _SIZE,
        "_cylinder__corner": _SIZE,
        "_cylinder__inside": _SIZE,
        "_cylinder__size": _SIZE,
    },
}  # fmt: skip


def explanation(module: str, case: str) -> tuple[str, str]:
    """Return the kind of a verdict of "wrong", and its reason."""
    return EXPLAINED.get(module, {}).get(case, (UNKNOWN, "not looked at yet"))
