// Each row of the table has one functor: the activation and its local gradient dy/dz.
//
// A functor has output(z). If the table says that the local gradient follows from the output, or is one, it
// also has local_from_output(y). If the local gradient has a buffer of its own, the functor also has
// output_and_local(z, y, local).
#pragma once

#include "contract.hpp"
#include "math.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

template <class T, Activation A> struct ActivationFunctor;

template <class T> struct ActivationFunctor<T, Activation::identity> {
    static DENSEGRAD_INLINE Vec<T> output(Vec<T> z) { return z; }
    static DENSEGRAD_INLINE Vec<T> local_from_output(Vec<T>) { return broadcast<T>(1); }
};

// Comparisons are written so that NaN stays NaN.
template <class T> struct ActivationFunctor<T, Activation::relu> {
    template <class V> static DENSEGRAD_INLINE V output(V z) { return z < T(0) ? V{} : z; }
    template <class V> static DENSEGRAD_INLINE V local_from_output(V y) {
        return y <= T(0) ? V{} : splat<V>(T(1));
    }
};

template <class T> struct ActivationFunctor<T, Activation::leaky_relu> {
    static constexpr T slope = T(0.01);
    static DENSEGRAD_INLINE Vec<T> output(Vec<T> z) { return z < T(0) ? z * slope : z; }
    static DENSEGRAD_INLINE Vec<T> local_from_output(Vec<T> y) {
        return y <= T(0) ? broadcast<T>(slope) : broadcast<T>(1);
    }
};

template <class T> struct ActivationFunctor<T, Activation::tanh> {
    static DENSEGRAD_INLINE Vec<T> output(Vec<T> z) { return tanh<T>(z); }
    static DENSEGRAD_INLINE Vec<T> local_from_output(Vec<T> y) { return fma(-y, y, broadcast<T>(1)); }
};

template <class T> struct ActivationFunctor<T, Activation::logistic> {
    static DENSEGRAD_INLINE Vec<T> output(Vec<T> z) { return logistic<T>(z); }
    static DENSEGRAD_INLINE Vec<T> local_from_output(Vec<T> y) { return y * (T(1) - y); }
};

template <class T> struct ActivationFunctor<T, Activation::softplus> {
    static DENSEGRAD_INLINE Vec<T> output(Vec<T> z) { return softplus<T>(z); }
    // 1 - exp(-y), which is y where y is so small that its square may be denormal.
    static DENSEGRAD_INLINE Vec<T> local_from_output(Vec<T> y) {
        constexpr T small = T(0x1p-60);
        return y < small ? y : Vec<T>{} - expm1_nonpositive<T>(-at_least<T>(y, small));
    }
};

template <class T> struct ActivationFunctor<T, Activation::elu> {
    static DENSEGRAD_INLINE Vec<T> output(Vec<T> z) { return z > T(0) ? z : expm1_nonpositive<T>(z); }
    static DENSEGRAD_INLINE Vec<T> local_from_output(Vec<T> y) {
        return y > T(0) ? broadcast<T>(1) : y + T(1);
    }
};

// Klambauer et al., Self-Normalizing Neural Networks (2017).
template <class T> struct ActivationFunctor<T, Activation::selu> {
    static constexpr T scale = T(1.0507009873554804934);
    static constexpr T scale_alpha = T(1.0507009873554804934 * 1.6732632423543772848);
    static DENSEGRAD_INLINE Vec<T> output(Vec<T> z) {
        return z > T(0) ? z * scale : expm1_nonpositive<T>(z) * scale_alpha;
    }
    static DENSEGRAD_INLINE Vec<T> local_from_output(Vec<T> y) {
        return y > T(0) ? broadcast<T>(scale) : y + scale_alpha;
    }
};

// Clamps z to the range where the function is neither zero nor the identity, so that 0 * infinity cannot
// arise.
template <class T> DENSEGRAD_INLINE Vec<T> clamp_magnitude(Vec<T> z, T bound) {
    return at_most<T>(at_least<T>(z, -bound), bound);
}

// z s(z), s the logistic function; dy/dz = s (1 + z (1 - s)).
template <class T> struct ActivationFunctor<T, Activation::silu> {
    static constexpr T bound = Precision<T>::silu_bound;
    static DENSEGRAD_INLINE Vec<T> output(Vec<T> z) { return at_least<T>(z, -bound) * logistic_pair<T>(z).s; }
    static DENSEGRAD_INLINE void output_and_local(Vec<T> z, Vec<T> &y, Vec<T> &local) {
        const LogisticPair<T> sides = logistic_pair<T>(z);
        y = at_least<T>(z, -bound) * sides.s;
        local = fma(clamp_magnitude<T>(z, bound) * sides.s, sides.t, sides.s);
    }
};

// z cdf(z) of the standard normal distribution; dy/dz = cdf(z) + z density(z).
template <class T> struct ActivationFunctor<T, Activation::gelu> {
    static constexpr T bound = Precision<T>::gelu_bound;
    static DENSEGRAD_INLINE Vec<T> output(Vec<T> z) { return at_least<T>(z, -bound) * normal<T>(z).cdf; }
    static DENSEGRAD_INLINE void output_and_local(Vec<T> z, Vec<T> &y, Vec<T> &local) {
        const Normal<T> n = normal<T>(z);
        y = at_least<T>(z, -bound) * n.cdf;
        local = fma(clamp_magnitude<T>(z, bound), n.density, n.cdf);
    }
};

// z tanh(softplus(z)) = z w, w = n / (n + 2), n = e (e + 2), e = exp(z); dw/dz = 4 e (e + 1) / (n + 2)^2.
template <class T> struct ActivationFunctor<T, Activation::mish> {
    static constexpr T low = Precision<T>::mish_low;
    static constexpr T high = Precision<T>::mish_high; // w is 1 to the last place, and w' is zero beside it
    static DENSEGRAD_INLINE Vec<T> output(Vec<T> z) {
        const Vec<T> e = exp<T>(at_most<T>(z, high));
        const Vec<T> n = fma(e, e, e + e);
        return at_least<T>(z, low) * (n / (n + T(2)));
    }
    static DENSEGRAD_INLINE void output_and_local(Vec<T> z, Vec<T> &y, Vec<T> &local) {
        const Vec<T> e = exp<T>(at_most<T>(z, high));
        const Vec<T> n = fma(e, e, e + e);
        const Vec<T> inverse = T(1) / (n + T(2));
        const Vec<T> w = n / (n + T(2));
        y = at_least<T>(z, low) * w;
        const Vec<T> slope = fma(e, e, e) * T(4) * inverse * inverse;
        local = fma(at_most<T>(at_least<T>(z, low), high), slope, w);
    }
};

template <class T> struct ActivationFunctor<T, Activation::exp> {
    static DENSEGRAD_INLINE Vec<T> output(Vec<T> z) { return exp<T>(z); }
    static DENSEGRAD_INLINE Vec<T> local_from_output(Vec<T> y) { return y; }
};

// Calls visitor.template operator()<A>() for the activation A that `activation` holds. It leaves out softmax,
// which is not elementwise, and custom, which is no kernel's (custom_activation.hpp).
template <int kRow = 0, class Visitor>
DENSEGRAD_INLINE void visit_elementwise(Activation activation, Visitor visitor) {
    if constexpr (kRow < kActivationCount) {
        constexpr ActivationRow row = kActivations[kRow];
        if constexpr (row.local_gradient != LocalGradient::jacobian && row.id != Activation::custom) {
            if (activation == row.id)
                return visitor.template operator()<row.id>();
        }
        visit_elementwise<kRow + 1>(activation, visitor);
    }
}

template <Activation A> constexpr LocalGradient local_gradient_of() {
    for (const ActivationRow &row : kActivations)
        if (row.id == A)
            return row.local_gradient;
    return LocalGradient::jacobian;
}

template <class T, Activation A> void activate_lines(T *y, Index lines) {
    for (Index i = 0; i < lines * kLanes<T>; i += kLanes<T>)
        for (int v = 0; v < kLanes<T>; v += kVecLanes<T>)
            store<T>(y + i + v, ActivationFunctor<T, A>::output(load<T>(y + i + v)));
}

template <class T, Activation A> void activate_lines_and_local(T *y, T *local, Index lines) {
    for (Index i = 0; i < lines * kLanes<T>; i += kLanes<T>) {
        for (int v = 0; v < kLanes<T>; v += kVecLanes<T>) {
            Vec<T> output, slope;
            if constexpr (local_gradient_of<A>() == LocalGradient::buffer) {
                ActivationFunctor<T, A>::output_and_local(load<T>(y + i + v), output, slope);
            } else {
                output = ActivationFunctor<T, A>::output(load<T>(y + i + v));
                slope = ActivationFunctor<T, A>::local_from_output(output);
            }
            store<T>(y + i + v, output);
            store<T>(local + i + v, slope);
        }
    }
}

// Deltas this small are as good as zero, and their products further down would be denormals, which are slow:
// a network that has learned its rows, or whose units are saturated, has nothing else.
template <class T> DENSEGRAD_INLINE Vec<T> drop_negligible_delta(Vec<T> delta) {
    return abs<T>(delta) < Precision<T>::negligible_delta ? Vec<T>{} : delta;
}

template <class T, Activation A, bool kDrop>
void multiply_lines_by_local(const T *output, T *delta, Index lines) {
    for (Index i = 0; i < lines * kLanes<T>; i += kVecLanes<T>) {
        const Vec<T> local = ActivationFunctor<T, A>::local_from_output(load<T>(output + i));
        const Vec<T> product = load<T>(delta + i) * local;
        store<T>(delta + i, kDrop ? drop_negligible_delta<T>(product) : product);
    }
}

// Computes y = a(z) in place, for contiguous lines; local receives dy/dz, null: not wanted. Softmax leaves z
// (and writes ones).
template <class T> void activate(Activation activation, T *y, T *local, Index lines) {
    if (activation == Activation::softmax)
        activation = Activation::identity;
    visit_elementwise(activation, [=]<Activation A>() {
        if (local)
            activate_lines_and_local<T, A>(y, local, lines);
        else if constexpr (A != Activation::identity)
            activate_lines<T, A>(y, lines);
    });
}

// Computes delta = L' dy/dz in place, for contiguous lines of the outputs y, if dy/dz follows from y. With
// kDrop negligible deltas become zero.
template <class T, bool kDrop>
void multiply_by_local(Activation activation, const T *output, T *delta, Index lines) {
    visit_elementwise(activation, [=]<Activation A>() {
        if constexpr (local_gradient_of<A>() == LocalGradient::output)
            multiply_lines_by_local<T, A, kDrop>(output, delta, lines);
    });
}

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
