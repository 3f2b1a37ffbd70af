// The contract between the engine and its kernels: what is compiled once per instruction set.
//
// A *line* is 64 bytes: kLane numbers, 16 float32 or 8 float64. Every matrix is kept in columns of one line:
//
//     activations, deltas   [ceil(n / kLane)][stride]      stride numbers from one column of lines to the
//     next,
//                                                          row r of a column at r * kLane
//     weights               [ceil(n_out / kLane)][n_in + 1][kLane]     row n_in is the bias
//     transposed weights    [ceil(n_in / kLane)][n_out][kLane]
//
// Lanes beyond n are padding: kernels may write anything there, and no result may depend on what they hold.
// Every number of a product is one chain of fused multiply-adds in the order of the sum (sums over the batch:
// in slices of kBatchSlice rows, each a chain from zero, added up in order), so results do not depend on the
// instruction set, on how rows or tiles are shared among threads, or on the batch a row came in.
// Kernels neither allocate nor throw. Row ranges and unit ranges may be given to different threads.
#pragma once

#include "densegrad/activations.hpp"
#include "densegrad/data.hpp"
#include "densegrad/losses.hpp"
#include "densegrad/optimizers.hpp"

#include <cstddef>
#include <cstdint>

namespace densegrad {

using Index = std::int64_t;

inline constexpr Index kBatchSlice = 256;

template <class T> inline constexpr Index kLineLength = 64 / static_cast<Index>(sizeof(T));
template <class T> constexpr Index line_count(Index n) { return (n + kLineLength<T> - 1) / kLineLength<T>; }

// Rows of X, picked by `order`, converted to T and laid out in lines.
template <class T> struct GatherArgs {
    const RowsView *rows;
    const Index *order; // (batch,) row numbers of X; null: rows first_row, first_row + 1, ...
    Index first_row;
    T *output; // [ceil(n_columns / kLane)][stride]
    Index stride;
};

// A mask drawn from a counter: the same bits whatever thread or instruction set draws them.
template <class T> struct DropoutArgs {
    std::uint32_t threshold = 0; // a unit is dropped when its 32 random bits are below this; 0: no dropout
    T scale = 1;                 // 1 / (1 - rate), for the units that stay
    std::uint64_t key = 0;       // of (seed, step, layer)
};

// y = a([x, 1] W), rows [row_begin, row_end).
template <class T> struct ForwardArgs {
    const T *input; // [ceil(n_in / kLane)][input_stride]
    Index input_stride;
    const T *weights;
    T *output; // [ceil(n_out / kLane)][output_stride]; with softmax the preactivation is left here
    Index output_stride;
    T *local; // like output: receives dy/dz; null: not wanted
    Index n_in, n_out;
    Activation activation;
    DropoutArgs<T> dropout;
    Index first_row; // number of row 0 in the batch, for the dropout counter
};

// L'_(l-1) = delta_(l) W^T and, from it, delta_(l-1) = L'_(l-1) dy/dz, rows [row_begin, row_end).
template <class T> struct BackwardArgs {
    const T *delta; // [ceil(n_out / kLane)][delta_stride]
    Index delta_stride;
    const T *transposed;
    T *input_delta;   // out: delta_(l-1) [ceil(n_in / kLane)][input_stride]
    T *loss_gradient; // out: L'_(l-1), like input_delta; null: not wanted
    const T *output;  // y_(l-1), like input_delta: used where the local gradient follows from it
    const T *local;   // dy/dz, like input_delta; null: it follows from the output
    Index input_stride;
    Index n_in, n_out;
    Activation activation; // of layer l - 1; identity for the input layer
};

// The loss layer's own numbers.
template <class T> struct LossArgs {
    Loss loss;
    Activation head;
    Index n_out;     // n_L
    Index n_targets; // outputs a target has; n_out but for quantile (n_out / n_levels) and gaussian_nll
                     // (n_out / 2)
    T parameter;     // of the table row
    T label_smoothing;
    const T *levels; // quantile: n_levels increasing levels in (0, 1)
    Index n_levels;
};

// Head and loss layer in one: from z_(L) to y_(L), the loss of each row and delta_(L), rows [row_begin,
// row_end).
template <class T> struct HeadArgs {
    LossArgs<T> loss;
    T *output;        // in: z_(L), out: y_(L); [ceil(n_out / kLane)][stride]
    T *delta;         // out: row weight * dloss/dz
    T *loss_gradient; // out: row weight * dloss/dy; null: not wanted
    Index stride;
    TargetsView<T> targets;
    const Index *order; // as in GatherArgs
    Index first_row;
    double weight_scale; // row weight = sample_weight * weight_scale
    double *row_loss;    // out: (batch,) the loss of each row, unweighted
    T *scratch;          // head_scratch_size<T>(n_out) numbers, one such per thread, 64-byte aligned
};
template <class T> constexpr Index head_scratch_size(Index n_out) { return (5 * n_out + 4) * kLineLength<T>; }

// The head alone. activate: z_(L) to y_(L), for softmax and several quantile levels (elementwise heads are
// done by forward). delta: from L'_(L) and y_(L) to delta_(L) = L'_(L) dy_(L)/dz_(L).
template <class T> struct HeadOnlyArgs {
    T *output;      // [ceil(n_out / kLane)][stride]
    T *delta;       // in: L'_(L), out: delta_(L); not used by activate
    const T *local; // dy/dz where it has a buffer; null: it follows from the output
    Index stride;
    Index n_out;
    Activation head;
    T *scratch;
    Index n_levels =
        1; // as in LossArgs; with several, q_0 = z_0 and q_k = q_(k-1) + softplus(z_k) for each target
};

// What a moving mean keeps of itself and takes of the new number: beta, and 1 - beta rounded once.
template <class T> struct Decay {
    T kept, added;

    static Decay of(double beta) { return {static_cast<T>(beta), static_cast<T>(1.0 - beta)}; }
};

// One step of an optimizer: the numbers that all weights share.
template <class T> struct OptimizerStep {
    Optimizer optimizer;
    bool nesterov;
    T learning_rate; // with Adam's bias corrections folded in where the formula allows it
    T momentum;      // SGD, RMSprop
    Decay<T> beta_1, beta_2;
    T epsilon;
    T correction_1, correction_2; // NAdam: factors of the momentum and of the gradient
    T second_moment_scale;        // 1 / (1 - beta_2^t), where it cannot be folded into the learning rate
    T l2;                         // added to the gradient: l2 * w (bias row: none)
    T l1;                         // added to the gradient: l1 * sign(w) (bias row: none)
    T decay;                      // decoupled weight decay: w -= decay * w (bias row: none)
};

// The weight gradient of one layer, tile by tile, and what is done with it while it is in registers.
template <class T> struct WeightArgs {
    const T *input; // y_(l-1) [ceil(n_in / kLane)][input_stride]
    Index input_stride;
    const T *delta; // delta_(l) [ceil(n_out / kLane)][delta_stride]
    Index delta_stride;
    Index n_rows; // rows of the batch summed here; 0: only what `gradient` holds
    Index n_in, n_out;
    T *weights;                   // read and, where `step` is not null, updated
    T *transposed;                // out: the transposed copy, made after the update; null: not wanted
    T *gradient;                  // like weights; null: not wanted
    bool accumulate;              // the sum starts from what `gradient` holds (else from zero)
    bool store;                   // the sum is left in `gradient`
    T gradient_scale;             // applied to the sum before the step (gradient clipping; else 1)
    const OptimizerStep<T> *step; // null: no update
    T *state[2];                  // like weights
    double *penalty; // out: (2, units) sums of w^2 and of |w| after the update, bias row left out; null: not
                     // wanted
};

// A unit is a block of kLane rows of one column of lines of the weights (the last block has the bias row
// too).
template <class T> constexpr Index weight_units(Index n_in, Index n_out) {
    return line_count<T>(n_in) * line_count<T>(n_out);
}

template <class T> struct Kernels {
    void (*gather)(const GatherArgs<T> &, Index row_begin, Index row_end);
    void (*forward)(const ForwardArgs<T> &, Index row_begin, Index row_end);
    void (*backward)(const BackwardArgs<T> &, Index row_begin, Index row_end);
    void (*head_loss)(const HeadArgs<T> &, Index row_begin, Index row_end);
    void (*head_activate)(const HeadOnlyArgs<T> &, Index row_begin, Index row_end);
    void (*head_delta)(const HeadOnlyArgs<T> &, Index row_begin, Index row_end);
    void (*weights)(const WeightArgs<T> &, Index unit_begin, Index unit_end);
};

struct KernelTable {
    const char *name; // of the instruction set
    Kernels<float> float32;
    Kernels<double> float64;
};

namespace avx512 {
extern const KernelTable kKernels;
}
namespace avx2 {
extern const KernelTable kKernels;
}
namespace neon {
extern const KernelTable kKernels;
}
namespace generic {
extern const KernelTable kKernels;
}

} // namespace densegrad
