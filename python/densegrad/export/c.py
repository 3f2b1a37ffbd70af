"""Networks as C: one file of C99 that predicts a row, with the bits of `Network.predict`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densegrad.export.functions import C_FUNCTIONS, LISTS, NUMBERS, no_form
from densegrad.layers import Blend, Dense, Scale
from densegrad.network import Network
from densegrad.spec import NetworkSpec

_KEYWORDS = {
    "auto",
    "break",
    "case",
    "char",
    "const",
    "continue",
    "default",
    "do",
    "double",
    "else",
    "enum",
    "extern",
    "float",
    "for",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "register",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "struct",
    "switch",
    "typedef",
    "union",
    "unsigned",
    "void",
    "volatile",
    "while",
}
_TYPES = {
    "float32": {
        "REAL": "float",
        "LEAST": "FLT_MIN",
        "BITS": "uint32_t",
        "MANTISSA": "23",
        "ONE_BITS": "0x3f800000u",
    },
    "float64": {
        "REAL": "double",
        "LEAST": "DBL_MIN",
        "BITS": "uint64_t",
        "MANTISSA": "52",
        "ONE_BITS": "UINT64_C(0x3ff0000000000000)",
    },
}
_NUMBERS_IN_A_LINE = 6

_HEADING = """\
/* $DESCRIPTION
 *
 *     void @(const REAL x[$N_INPUTS], REAL y[$N_OUTPUTS]);
 *
 * predicts one row: y are the outputs of the inputs x, and must not overlap them. It keeps no state, so that
 * threads may call it at the same time, takes no memory but the stack ($STACK), and computes the same
 * bits as Network.predict. With -DDENSEGRAD_PLAIN its sums round each product, which is faster on processors
 * without fused multiply-add, and no longer gives the same bits.
 *
 * Written by densegrad $VERSION. */
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if FLT_EVAL_METHOD == 1 || FLT_EVAL_METHOD == 2
#error "numbers must be rounded to their type; on 32-bit x86 compile with -msse2 -mfpmath=sse"
#endif
#ifdef __FAST_MATH__
#error "-ffast-math changes the results; compile without it"
#endif
"""

_FMA = {
    "float32": """
/* a b + c, rounded once. */
static float @fma(float a, float b, float c)
{
#if defined(FP_FAST_FMAF) || defined(__FP_FAST_FMAF) || defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return fmaf(a, b, c);
#else
    /* The product is exact in double. Its sum with c is rounded to odd, which the rounding to float behind it
     * cannot make wrong (Boldo and Melquiond, Emulation of FMA and correctly rounded sums, 2008). */
    const double product = (double)a * (double)b;
    double sum = product + (double)c;
    const double part = sum - product;
    const double error = (product - (sum - part)) + ((double)c - part);
    if (error > 0.0 || error < 0.0) {
        uint64_t bits;
        memcpy(&bits, &sum, sizeof bits);
        if (bits % 2 == 0) {
            bits = (error > 0.0) == (sum > 0.0) ? bits + 1 : bits - 1;
            memcpy(&sum, &bits, sizeof sum);
        }
    }
    return (float)sum;
#endif
}
""",
    "float64": """
/* a b + c, rounded once. */
static double @fma(double a, double b, double c) { return fma(a, b, c); }
""",
}

_INPUT = """
/* A denormal input counts as zero. */
static REAL @input(REAL x) { return x > -LEAST && x < LEAST ? x * (REAL)0 : x; }
"""

_PRODUCT = """
/* z = [x, 1] W: each sum starts from the bias, the last row, and takes the inputs in order. */
static void @product(const REAL *x, size_t n_in, const REAL *W, size_t n_out, REAL *z)
{
    for (size_t j = 0; j < n_out; ++j)
        z[j] = W[n_in * n_out + j];
    for (size_t i = 0; i < n_in; ++i)
        for (size_t j = 0; j < n_out; ++j)
#ifdef DENSEGRAD_PLAIN
            z[j] = z[j] + x[i] * W[i * n_out + j];
#else
            z[j] = @fma(x[i], W[i * n_out + j], z[j]);
#endif
}
"""


def to_c(network: Network, name: str = "densegrad_predict") -> str:
    """Return a network as a file of C99 with one function, ``void name(const float x[], float y[])``.

    The function takes the inputs of one row and computes the outputs with the bits of `Network.predict`. It
    needs only the C standard library and allocates nothing. Several threads may call it at once. A float64
    network has double in place of float. Dropout has no part in predictions.

    Parameters
    ----------
    network : Network
        For an estimator, its `network_`. Its further work, such as choosing a label, is not part of the file.
    name : str, default "densegrad_predict"
        The function's name. All other names in the file are static and begin with it.

    Returns
    -------
    str
        The file. Compile it without -ffast-math. A float64 network links with the library m.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described, a weight is not finite, or an activation has no form in C.

    Examples
    --------
    >>> from densegrad import Dense, Network
    >>> from densegrad.export import to_c
    >>> net = Network(2, [Dense(3, "tanh"), Dense(1, "identity")], random_state=0)
    >>> "void predict(const float x[2], float y[1])" in to_c(net, "predict")
    True
    """
    if not isinstance(network, Network):
        raise TypeError(
            f"network must be a Network; got {type(network).__name__}. A fitted estimator's is `network_`"
        )
    if not isinstance(name, str):
        raise TypeError(f"name must be a str; got {name!r}")
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) or name in _KEYWORDS:
        raise ValueError(f"name must be an identifier in C; got {name!r}")
    spec = network.spec
    calls = list(_layer_calls(spec))
    functions = list(_functions(calls))
    weights = [_weights_in_c(l, network.weights[l]) for l in range(1, spec.depth + 1)]
    text = "".join(
        [
            _HEADING,
            *weights,
            _fma(spec.dtype, only_in_sums="@fma(" not in "".join([*functions, *calls])),
            _INPUT,
            _PRODUCT,
            *functions,
            "\nvoid @(const REAL x[$N_INPUTS], REAL y[$N_OUTPUTS]);\n",
            "\nvoid @(const REAL x[$N_INPUTS], REAL y[$N_OUTPUTS])\n{\n",
            *_buffers(spec),
            *calls,
            "}\n",
        ]
    )
    return _filled(text, spec, name)


def _layer_calls(spec: NetworkSpec) -> Iterator[str]:
    """Yield the lines that read the inputs, and those of each layer: the product and the activation."""
    source = "inputs"
    yield f"    for (size_t i = 0; i < {spec.n_inputs}; ++i)\n        inputs[i] = @input(x[i]);\n"
    for l, layer in enumerate(spec.layers, 1):
        activation = layer.activation_kind
        if activation not in C_FUNCTIONS and activation != "identity":
            raise no_form(l, layer, "C")
        target = "y" if l == spec.depth else "ba"[l % 2]
        n = layer.units
        if not isinstance(layer, Dense):
            yield _elementwise(l, layer, source, target)
            source = target
            continue
        yield f"    @product({source}, {spec.width(l - 1)}, &@W{l}[0][0], {n}, {target});\n"
        if activation == "softmax":
            yield f"    @softmax({target}, {n});\n"
        elif activation != "identity":
            yield (
                f"    for (size_t j = 0; j < {n}; ++j)\n        {target}[j] = @{activation}({target}[j]);\n"
            )
        source = target
    if len(spec.loss.quantile_levels) > 1:
        yield f"    @quantiles(y, {spec.head.units}, {len(spec.loss.quantile_levels)});\n"


def _elementwise(l: int, layer: Scale | Blend, source: str, target: str) -> str:
    loop = f"    for (size_t j = 0; j < {layer.units}; ++j)\n"
    x, v = f"{source}[j]", f"@W{l}[0][j]"
    if isinstance(layer, Scale):
        return f"{loop}        {target}[j] = {x} * {v};\n"
    a = x if layer.activation == "identity" else f"@rounded(@{layer.activation}({x}))"
    return f"{loop}        {target}[j] = @fma({v}, {a} - {x}, {x});\n"


def _functions(calls: list[str]) -> Iterator[str]:
    """Yield the functions that the calls need, each below those that it calls."""
    needed = set(re.findall(r"@(\w+)\(", "".join(calls)))
    for name, text in reversed(C_FUNCTIONS.items()):
        if name in needed:
            needed |= set(re.findall(r"@(\w+)\(", text))
    for name, text in C_FUNCTIONS.items():
        if name in needed:
            yield text if text.startswith("\n") else "\n" + text


def _fma(dtype: np.dtype[Any], only_in_sums: bool) -> str:
    """Return the fused multiply-add, which a compiler must not find unused."""
    text = _FMA[dtype.name]
    return f"\n#ifndef DENSEGRAD_PLAIN{text}#endif\n" if only_in_sums else text


def _weights_in_c(l: int, W: NDArray[Any]) -> str:
    if not np.isfinite(W).all():
        raise ValueError(f"W_({l}) must be finite; it holds NaN or infinity")
    n_rows, n_columns = W.shape
    rows = ",\n".join(f"    {{{_numbers(row)}}}" for row in W)
    return f"\nstatic const REAL @W{l}[{n_rows}][{n_columns}] = {{\n{rows}}};\n"


def _numbers(values: Any) -> str:
    """Return numbers as literals, a few in a line."""
    literals = [_literal(value) for value in values]
    lines = [
        ", ".join(literals[i : i + _NUMBERS_IN_A_LINE]) for i in range(0, len(literals), _NUMBERS_IN_A_LINE)
    ]
    return ",\n     ".join(lines)


def _literal(value: Any) -> str:
    """Return a NumPy number with the digits that tell it from its neighbours."""
    return f"{value!s}f" if value.dtype == np.float32 else str(value)


def _buffers(spec: NetworkSpec) -> Iterator[str]:
    """Yield the buffers of the inputs and of the hidden layers: of the latter two, that take turns."""
    yield f"    REAL inputs[{spec.n_inputs}];\n"
    for width, buffer in zip(_buffer_widths(spec), "ba", strict=True):
        if width:
            yield f"    REAL {buffer}[{width}];\n"


def _buffer_widths(spec: NetworkSpec) -> tuple[int, int]:
    hidden = spec.widths[1:-1]
    return max(hidden[1::2], default=0), max(hidden[::2], default=0)


def _filled(text: str, spec: NetworkSpec, name: str) -> str:
    """Return the text with its placeholders filled in."""
    dtype = spec.dtype
    layers = ", ".join(f"{layer.units} {layer.activation_name}" for layer in spec.layers)
    values = {
        "DESCRIPTION": f"A dense network of {spec.n_inputs} inputs; units: {layers}; {dtype.name}.",
        "N_INPUTS": str(spec.n_inputs),
        "N_OUTPUTS": str(spec.head.units),
        "STACK": f"about {(spec.n_inputs + sum(_buffer_widths(spec))) * dtype.itemsize + 256} bytes",
        "VERSION": version("densegrad"),
    }
    for number, both in NUMBERS.items():
        value = dtype.type(both[dtype == np.float64])
        values[number] = f"({_literal(value)})" if value < 0 else _literal(value)
    for label, of_dtype in LISTS.items():
        coefficients = np.array(of_dtype[dtype.name], dtype)
        values["$" + label] = _numbers(coefficients)
        values["n_" + label] = str(len(coefficients))
    text = re.sub(r"\$(\$?\w+)", lambda match: values[match[1]], text)
    text = re.sub(
        r"\b(REAL|LEAST|BITS|MANTISSA|ONE_BITS)\b", lambda match: _TYPES[dtype.name][match[1]], text
    )
    return re.sub(r"@(\w*)", lambda match: f"{name}_{match[1]}" if match[1] else name, text)
