// The coefficients of a training step are the learning rate with the optimizer's corrections, the penalties
// and the decay. The factors of each layer apply to them.
#pragma once

#include "densegrad/trainer.hpp"

#include "layer.hpp"

#include "../kernels/contract.hpp"

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace densegrad {

// Computes base^n for n >= 0 by repeated squaring: pow() of the C library need not give the same bits on
// every CPU.
class PowersOf {
  public:
    explicit PowersOf(double base) {
        for (double &square : squares_) {
            square = base;
            base *= base;
        }
    }

    double operator()(std::int64_t n) const {
        double power = 1.0;
        for (std::uint64_t bits = static_cast<std::uint64_t>(n); bits != 0; bits &= bits - 1)
            power *= squares_[std::countr_zero(bits)];
        return power;
    }

  private:
    double squares_[63]; // base^(2^i)
};

// Gives the coefficients of one step after another.
template <class T> class StepCoefficients {
  public:
    StepCoefficients(const OptimizerSpec &spec, const Regularisation &regularisation,
                     const std::vector<Layer<T>> &layers, std::int64_t steps_done)
        : spec_(spec), regularisation_(regularisation), layers_(layers), steps_(layers.size()),
          beta_1_powers_(spec.beta_1), beta_2_powers_(spec.beta_2), t_(steps_done) {
        step_.optimizer = spec.optimizer;
        step_.nesterov = spec.nesterov;
        step_.momentum = static_cast<T>(spec.momentum);
        step_.beta_1 = Decay<T>::of(spec.beta_1);
        step_.beta_2 = Decay<T>::of(spec.beta_2);
        // As far as 1 minus the product can be told from 1.
        if (spec.optimizer == Optimizer::nadam)
            for (std::int64_t i = 1; i <= steps_done && momentum_product_ > 1e-20; ++i)
                momentum_product_ *= nadam_momentum(i);
    }

    // Gives the steps of layers 1 ... L. weight: the sum of the batch's sample weights, by which the
    // penalties are divided.
    const std::vector<LayerStep<T>> &next(double learning_rate, double weight_decay, double weight) {
        ++t_;
        const double unbiased_1 = 1.0 - beta_1_powers_(t_);
        const double unbiased_2 = 1.0 - beta_2_powers_(t_);
        double rate = learning_rate;
        if (spec_.optimizer == Optimizer::adam)
            rate = learning_rate * std::sqrt(unbiased_2) / unbiased_1;
        else if (spec_.optimizer == Optimizer::adamw)
            rate = learning_rate / unbiased_1;
        if (spec_.optimizer == Optimizer::nadam) {
            const double now = nadam_momentum(t_);
            const double after = nadam_momentum(t_ + 1);
            momentum_product_ *= now;
            step_.correction_1 = static_cast<T>(after / (1.0 - momentum_product_ * after));
            step_.correction_2 = static_cast<T>((1.0 - now) / (1.0 - momentum_product_));
        }
        step_.second_moment_scale = static_cast<T>(1.0 / unbiased_2);
        for (std::size_t i = 0; i < steps_.size(); ++i) {
            const LayerRates &factors = layers_[i].rates;
            OptimizerStep<T> &weights = steps_[i].weights;
            weights = step_;
            weights.learning_rate = static_cast<T>(rate * factors.weights);
            weights.epsilon = static_cast<T>(spec_.epsilon * factors.epsilon);
            weights.l2 = static_cast<T>(regularisation_.l2 / weight);
            weights.l1 = static_cast<T>(regularisation_.l1 / weight);
            weights.decay = static_cast<T>(learning_rate * weight_decay * factors.weights * factors.decay);
            OptimizerStep<T> &bias = steps_[i].bias;
            // The weights of an elementwise layer lie in the bias row. They have a decay, but no penalties.
            if (layers_[i].elementwise()) {
                bias = weights;
                bias.l2 = bias.l1 = T(0);
                continue;
            }
            bias = step_; // neither penalties nor decay
            bias.learning_rate = static_cast<T>(rate * factors.bias);
            bias.epsilon = static_cast<T>(spec_.epsilon);
        }
        return steps_;
    }

  private:
    // Gives the momentum of NAdam at step t (Dozat 2016), with the decay of 0.96^0.004 a step that is usual.
    double nadam_momentum(std::int64_t t) const {
        static const PowersOf decay(0.99983672535267528);
        return spec_.beta_1 * (1.0 - 0.5 * decay(t));
    }

    const OptimizerSpec &spec_;
    const Regularisation &regularisation_;
    const std::vector<Layer<T>> &layers_;
    std::vector<LayerStep<T>> steps_;
    PowersOf beta_1_powers_, beta_2_powers_;
    std::int64_t t_;
    double momentum_product_ = 1.0; // NAdam's of steps 1 ... t
    OptimizerStep<T> step_{};       // what all layers share
};

} // namespace densegrad
