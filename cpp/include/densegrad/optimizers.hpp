// This is the table of optimizers. To add one, write an enumerator and a row here, a functor in
// cpp/kernels/optimizers.hpp and a line in tests/reference_training.py.
#pragma once

namespace densegrad {

enum class Optimizer : int { sgd, adam, adamw, nadam, rmsprop, adagrad, lion };

struct OptimizerRow {
    Optimizer id;
    const char *name;
    int state_count;   // numbers kept per weight beside the weight itself
    int squares_state; // which of them is a sum or mean of squares, never negative; -1: none
};

inline constexpr OptimizerRow kOptimizers[] = {
    {Optimizer::sgd, "SGD", 1, -1},        {Optimizer::adam, "Adam", 2, 1},
    {Optimizer::adamw, "AdamW", 2, 1},     {Optimizer::nadam, "NAdam", 2, 1},
    {Optimizer::rmsprop, "RMSprop", 2, 0}, {Optimizer::adagrad, "Adagrad", 1, 0},
    {Optimizer::lion, "Lion", 1, -1},
};

inline constexpr int kOptimizerCount = static_cast<int>(sizeof(kOptimizers) / sizeof(kOptimizers[0]));

} // namespace densegrad
