// This is the table of activations. To add one, write an enumerator and a row here, a functor in
// cpp/kernels/activations.hpp and a line in tests/reference.py.
#pragma once

#include <cstdint>

namespace densegrad {

enum class Activation : int {
    identity,
    relu,
    leaky_relu,
    tanh,
    logistic,
    softplus,
    elu,
    selu,
    silu,
    gelu,
    mish,
    exp,
    softmax,
    custom, // of a layer that has its function (LayerSpec)
};

// This says where the local gradient dy/dz of a cached forward pass is kept.
enum class LocalGradient : int {
    one,      // dy/dz = 1: nothing to keep
    output,   // dy/dz is a function of y: the cached output is the cached local gradient
    buffer,   // dy/dz has a buffer of its own
    jacobian, // diag(y) - y y^T of softmax: a function of y, and never elementwise
};

// The form of dy/dz of a layer's outputs.
enum class Jacobian : int {
    diagonal,             // each output depends on its own z
    softmax,              // on all z of its row
    increasing_quantiles, // on the z of the lower levels of its target
};

constexpr Jacobian jacobian_of(Activation activation, std::int64_t n_levels) {
    return activation == Activation::softmax ? Jacobian::softmax
           : n_levels > 1                    ? Jacobian::increasing_quantiles
                                             : Jacobian::diagonal;
}

// The initial weights are drawn from a uniform distribution. glorot is +-sqrt(6 / (n_in + n_out)), he is
// +-sqrt(6 / n_in). glorot_logistic is Glorot's with 2 in place of 6, which scikit-learn uses for logistic
// units.
enum class Initializer : int { glorot, glorot_logistic, he };

struct ActivationRow {
    Activation id;
    const char *name;
    LocalGradient local_gradient;
    Initializer initializer;
    bool head_only; // may stand only at the last layer
};

inline constexpr ActivationRow kActivations[] = {
    {Activation::identity, "identity", LocalGradient::one, Initializer::glorot, false},
    {Activation::relu, "relu", LocalGradient::output, Initializer::he, false},
    {Activation::leaky_relu, "leaky_relu", LocalGradient::output, Initializer::he, false},
    {Activation::tanh, "tanh", LocalGradient::output, Initializer::glorot, false},
    {Activation::logistic, "logistic", LocalGradient::output, Initializer::glorot_logistic, false},
    {Activation::softplus, "softplus", LocalGradient::output, Initializer::he, false},
    {Activation::elu, "elu", LocalGradient::output, Initializer::he, false},
    {Activation::selu, "selu", LocalGradient::output, Initializer::glorot, false},
    {Activation::silu, "silu", LocalGradient::buffer, Initializer::he, false},
    {Activation::gelu, "gelu", LocalGradient::buffer, Initializer::he, false},
    {Activation::mish, "mish", LocalGradient::buffer, Initializer::he, false},
    {Activation::exp, "exp", LocalGradient::output, Initializer::glorot, true},
    {Activation::softmax, "softmax", LocalGradient::jacobian, Initializer::glorot, true},
    {Activation::custom, "custom", LocalGradient::buffer, Initializer::glorot, false},
};

inline constexpr int kActivationCount = static_cast<int>(sizeof(kActivations) / sizeof(kActivations[0]));

} // namespace densegrad
