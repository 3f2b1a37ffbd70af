// Each row of the table of optimizers has one functor: one step for a vector of weights.
//
// A functor is made once for a run of weights, so that its numbers stay in registers. It is then called for
// each vector with the gradient, the weights and the two states, and updates them.
//
// If a unit gets no gradient, nothing may decay into denormals, which are slow. Velocities and means below
// `negligible` become zero, and squares have it as their floor. It is far enough above the smallest normal
// number for l2 w to stay normal too. The term l2 w shrinks w until the mean of l2 w is dropped. If g acts
// without a mean, or divided by its own root, w itself is dropped.
#pragma once

#include "contract.hpp"
#include "simd.hpp"

namespace densegrad::DENSEGRAD_ISA {
namespace {

template <class T, Optimizer O> struct OptimizerFunctor;

template <class T, class V> DENSEGRAD_INLINE V drop_negligible(V v) {
    return abs<T>(v) < Precision<T>::negligible ? V{} : v;
}

// -1, 0, 1 or NaN.
template <class T, class V> DENSEGRAD_INLINE V sign(V v) {
    const V one = splat<V>(T(1));
    return v > T(0) ? one : v < T(0) ? -one : v == T(0) ? V{} : v;
}

// This is added to the gradient and taken off the weights, the same for all optimizers.
template <class T> struct Penalty {
    T l2, l1, decay;

    DENSEGRAD_INLINE explicit Penalty(const OptimizerStep<T> &step)
        : l2(step.l2), l1(step.l1), decay(step.decay) {}

    // g + l2 w + l1 sign(w), and w - decay w.
    template <class V> DENSEGRAD_INLINE void apply(V &g, V &w) const {
        g = fma(w, splat<V>(l2), g);
        if (l1 != T(0))
            g = fma(sign<T>(w), splat<V>(l1), g);
        if (decay != T(0))
            w = drop_negligible<T>(fma(w, splat<V>(-decay), w));
    }
};

// beta m + (1 - beta) g.
template <class T, class V> DENSEGRAD_INLINE V moving_mean(V m, V g, Decay<T> beta) {
    return drop_negligible<T>(fma(m, splat<V>(beta.kept), g * beta.added));
}

// g^2, and the floor, whose root is far below the usual epsilons.
template <class T, class V> DENSEGRAD_INLINE V square(V g) {
    return fma(g, g, splat<V>(Precision<T>::negligible));
}

// beta v + (1 - beta) g^2.
template <class T, class V> DENSEGRAD_INLINE V mean_square(V v, V g, Decay<T> beta) {
    return fma(v, splat<V>(beta.kept), square<T>(g) * beta.added);
}

// velocity = momentum velocity - lr g; w += velocity, or w += momentum velocity - lr g with Nesterov's
// momentum. This is scikit-learn's form: the velocity holds the learning rate.
template <class T> struct OptimizerFunctor<T, Optimizer::sgd> {
    Penalty<T> penalty;
    T learning_rate, momentum;
    bool nesterov;

    DENSEGRAD_INLINE explicit OptimizerFunctor(const OptimizerStep<T> &step)
        : penalty(step), learning_rate(step.learning_rate), momentum(step.momentum), nesterov(step.nesterov) {
    }

    template <class V> DENSEGRAD_INLINE void operator()(V g, V &w, V &velocity, V &) const {
        penalty.apply(g, w);
        const V move = g * learning_rate;
        velocity = drop_negligible<T>(fma(velocity, splat<V>(momentum), -move));
        w = nesterov ? drop_negligible<T>(w + fma(velocity, splat<V>(momentum), -move)) : w + velocity;
    }
};

// m = beta_1 m + (1 - beta_1) g, v = beta_2 v + (1 - beta_2) g^2, w -= lr m / (sqrt(v) + epsilon).
// Kingma and Ba, Adam (2015), section 2, last paragraph: both bias corrections are in the learning rate.
template <class T> struct OptimizerFunctor<T, Optimizer::adam> {
    Penalty<T> penalty;
    T learning_rate;
    Decay<T> beta_1, beta_2;
    T epsilon;

    DENSEGRAD_INLINE explicit OptimizerFunctor(const OptimizerStep<T> &step)
        : penalty(step), learning_rate(step.learning_rate), beta_1(step.beta_1), beta_2(step.beta_2),
          epsilon(step.epsilon) {}

    template <class V> DENSEGRAD_INLINE void operator()(V g, V &w, V &m, V &v) const {
        penalty.apply(g, w);
        m = moving_mean<T>(m, g, beta_1);
        v = mean_square<T>(v, g, beta_2);
        w = fma(m / (sqrt(v) + epsilon), splat<V>(-learning_rate), w);
    }
};

// It is as Adam, but epsilon is added to the corrected root: w -= lr m / (sqrt(v / (1 - beta_2^t)) +
// epsilon). lr holds the correction of m. Loshchilov and Hutter, Decoupled Weight Decay Regularization
// (2019). The decay is the penalty's.
template <class T> struct OptimizerFunctor<T, Optimizer::adamw> {
    Penalty<T> penalty;
    T learning_rate;
    Decay<T> beta_1, beta_2;
    T epsilon, scale;

    DENSEGRAD_INLINE explicit OptimizerFunctor(const OptimizerStep<T> &step)
        : penalty(step), learning_rate(step.learning_rate), beta_1(step.beta_1), beta_2(step.beta_2),
          epsilon(step.epsilon), scale(step.second_moment_scale) {}

    template <class V> DENSEGRAD_INLINE void operator()(V g, V &w, V &m, V &v) const {
        penalty.apply(g, w);
        m = moving_mean<T>(m, g, beta_1);
        v = mean_square<T>(v, g, beta_2);
        w = fma(m / (sqrt(v * scale) + epsilon), splat<V>(-learning_rate), w);
    }
};

// w -= lr (correction_1 m + correction_2 g) / (sqrt(v / (1 - beta_2^t)) + epsilon).
// Dozat, Incorporating Nesterov Momentum into Adam (2016), with the momentum's schedule in the corrections.
template <class T> struct OptimizerFunctor<T, Optimizer::nadam> {
    Penalty<T> penalty;
    T learning_rate;
    Decay<T> beta_1, beta_2;
    T epsilon, scale, correction_1, correction_2;

    DENSEGRAD_INLINE explicit OptimizerFunctor(const OptimizerStep<T> &step)
        : penalty(step), learning_rate(step.learning_rate), beta_1(step.beta_1), beta_2(step.beta_2),
          epsilon(step.epsilon), scale(step.second_moment_scale), correction_1(step.correction_1),
          correction_2(step.correction_2) {}

    template <class V> DENSEGRAD_INLINE void operator()(V g, V &w, V &m, V &v) const {
        penalty.apply(g, w);
        m = moving_mean<T>(m, g, beta_1);
        v = mean_square<T>(v, g, beta_2);
        const V ahead = fma(m, splat<V>(correction_1), g * correction_2);
        w = drop_negligible<T>(fma(ahead / (sqrt(v * scale) + epsilon), splat<V>(-learning_rate), w));
    }
};

// v = beta_2 v + (1 - beta_2) g^2, move = momentum move + g / (sqrt(v) + epsilon), w -= lr move.
// Tieleman and Hinton, Lecture 6.5 (2012), with momentum.
template <class T> struct OptimizerFunctor<T, Optimizer::rmsprop> {
    Penalty<T> penalty;
    T learning_rate, momentum;
    Decay<T> beta_2;
    T epsilon;

    DENSEGRAD_INLINE explicit OptimizerFunctor(const OptimizerStep<T> &step)
        : penalty(step), learning_rate(step.learning_rate), momentum(step.momentum), beta_2(step.beta_2),
          epsilon(step.epsilon) {}

    template <class V> DENSEGRAD_INLINE void operator()(V g, V &w, V &v, V &move) const {
        penalty.apply(g, w);
        v = mean_square<T>(v, g, beta_2);
        move = drop_negligible<T>(fma(move, splat<V>(momentum), g / (sqrt(v) + epsilon)));
        w = drop_negligible<T>(fma(move, splat<V>(-learning_rate), w));
    }
};

// v += g^2, w -= lr g / (sqrt(v) + epsilon). Duchi, Hazan and Singer (2011).
template <class T> struct OptimizerFunctor<T, Optimizer::adagrad> {
    Penalty<T> penalty;
    T learning_rate, epsilon;

    DENSEGRAD_INLINE explicit OptimizerFunctor(const OptimizerStep<T> &step)
        : penalty(step), learning_rate(step.learning_rate), epsilon(step.epsilon) {}

    template <class V> DENSEGRAD_INLINE void operator()(V g, V &w, V &v, V &) const {
        penalty.apply(g, w);
        v = v + square<T>(g);
        w = drop_negligible<T>(fma(g / (sqrt(v) + epsilon), splat<V>(-learning_rate), w));
    }
};

// w -= lr sign(beta_1 m + (1 - beta_1) g), then m = beta_2 m + (1 - beta_2) g.
// Chen et al., Symbolic Discovery of Optimization Algorithms (2023).
template <class T> struct OptimizerFunctor<T, Optimizer::lion> {
    Penalty<T> penalty;
    T learning_rate;
    Decay<T> beta_1, beta_2;

    DENSEGRAD_INLINE explicit OptimizerFunctor(const OptimizerStep<T> &step)
        : penalty(step), learning_rate(step.learning_rate), beta_1(step.beta_1), beta_2(step.beta_2) {}

    template <class V> DENSEGRAD_INLINE void operator()(V g, V &w, V &m, V &) const {
        penalty.apply(g, w);
        const V direction = sign<T>(fma(m, splat<V>(beta_1.kept), g * beta_1.added));
        w = fma(direction, splat<V>(-learning_rate), w);
        m = moving_mean<T>(m, g, beta_2);
    }
};

} // namespace
} // namespace densegrad::DENSEGRAD_ISA
