// This is the table of losses. To add one, write an enumerator and a row here, a functor in
// cpp/kernels/losses.hpp and a line in tests/reference.py.
#pragma once

#include "densegrad/activations.hpp"

namespace densegrad {

enum class Loss : int {
    squared_error,
    log_loss,
    poisson,
    absolute_error,
    huber,
    log_cosh,
    quantile,
    gamma,
    tweedie,
    gaussian_nll,
    focal,
    hinge,
    squared_hinge,
    custom,
};

// This says what a target is for the loss.
enum class TargetKind : int {
    values,        // one number an output
    probabilities, // class numbers, or one number in [0, 1] an output
    classes,       // class numbers, or 0/1 an output
};

// A loss accepts these heads.
enum class Heads : int {
    any,        // every activation but softmax
    classifier, // softmax or logistic
    positive,   // activations whose outputs are positive: exp, softplus
    identity,   // identity only
};

constexpr bool head_fits(Heads heads, Activation head) {
    switch (heads) {
    case Heads::any:
        return head != Activation::softmax;
    case Heads::classifier:
        return head == Activation::softmax || head == Activation::logistic;
    case Heads::positive:
        return head == Activation::exp || head == Activation::softplus;
    case Heads::identity:
        return head == Activation::identity;
    }
    return false;
}

inline constexpr double kUnbounded = 1e300;
inline constexpr double kNoLowest = -__builtin_inf();

struct LossRow {
    Loss id;
    const char *name;
    TargetKind target;
    Heads heads;
    const char *parameter;                                   // the name of the loss's own parameter, or null
    double parameter_default, parameter_low, parameter_high; // allowed: low < parameter < high
    double lowest_target = kNoLowest;
    bool lowest_allowed = true; // the lowest target itself
    bool margin = false;        // outputs are distances from the decision boundary, not probabilities
    int outputs_per_target = 1; // and per quantile level
};

inline constexpr LossRow kLosses[] = {
    {Loss::squared_error, "squared_error", TargetKind::values, Heads::any, nullptr, 0, 0, 0},
    {Loss::log_loss, "log_loss", TargetKind::probabilities, Heads::classifier, nullptr, 0, 0, 0},
    {Loss::poisson, "poisson", TargetKind::values, Heads::positive, nullptr, 0, 0, 0, 0.0, true},
    {Loss::absolute_error, "absolute_error", TargetKind::values, Heads::any, nullptr, 0, 0, 0},
    {Loss::huber, "huber", TargetKind::values, Heads::any, "delta", 1.0, 0, kUnbounded},
    {Loss::log_cosh, "log_cosh", TargetKind::values, Heads::any, nullptr, 0, 0, 0},
    {Loss::quantile, "quantile", TargetKind::values, Heads::identity, "quantile", 0.5, 0, 1},
    {Loss::gamma, "gamma", TargetKind::values, Heads::positive, nullptr, 0, 0, 0, 0.0, false},
    {Loss::tweedie, "tweedie", TargetKind::values, Heads::positive, "power", 1.5, 1, 2, 0.0, true},
    {Loss::gaussian_nll, "gaussian_nll", TargetKind::values, Heads::identity, nullptr, 0, 0, 0, kNoLowest,
     true, false, 2},
    {Loss::focal, "focal", TargetKind::classes, Heads::classifier, "gamma", 2.0, 0, kUnbounded},
    {Loss::hinge, "hinge", TargetKind::classes, Heads::identity, nullptr, 0, 0, 0, kNoLowest, true, true},
    {Loss::squared_hinge, "squared_hinge", TargetKind::classes, Heads::identity, nullptr, 0, 0, 0, kNoLowest,
     true, true},
    {Loss::custom, "custom", TargetKind::values, Heads::any, nullptr, 0, 0, 0},
};

inline constexpr int kLossCount = static_cast<int>(sizeof(kLosses) / sizeof(kLosses[0]));

} // namespace densegrad
