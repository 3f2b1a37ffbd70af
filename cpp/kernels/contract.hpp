// This is the contract between the core and its kernels. The kernels are compiled once per instruction set.
//
// Each word has one meaning:
//
//     line      64 bytes: kLanes numbers, 16 float32 or 8 float64
//     lane      one of the numbers of a line
//     part      the numbers of a line that one register holds
//     cell      16 bytes of a line, which a transposition moves as a whole
//     column    of lines: the same kLanes units (or inputs) of all rows, one line a row
//     panel     of weights: one column of lines, n_in + 1 of them
//     block     of weights: the kLanes lines of a panel that belong to one line of inputs
//     tile      sums that are kept in registers together
//     group     kLanes rows of the head, transposed (groups.hpp)
//     span      terms of a product's sum: all rows of a band add them before the next span
//     band      rows of a product that are done together
//     slice     kBatchSlice rows of a batch, whose sum is one chain of additions
//     piece     rows that a pass holds at once
//     leaf      rows of one shard in a batch, whose sum is a leaf of the tree over the shards
//     chunk     work that a thread takes at a time
//
// Every matrix is kept in columns of lines:
//
//     outputs, deltas       [ceil(n / kLanes)][stride]                   row r of a column at r * kLanes,
//                                                                        a column every `stride` numbers
//     weights               [ceil(n_out / kLanes)][n_in + 1][kLanes]     line n_in is the bias row
//     transposed weights    [ceil(n_in / kLanes)][n_out][kLanes]
//
//     W, n_in = 3, n_out > kLanes:      panel 0             panel 1
//                                   w00 w01 ... w0f     w0g w0h ...
//                                   w10 w11 ... w1f     w1g w1h ...
//                                   w20 w21 ... w2f     w2g w2h ...
//                                   b0  b1  ... bf      bg  bh  ...
//
// Lanes beyond n are padding. Kernels may write anything there, and no result may depend on what they hold.
// Every number of a product is one chain of fused multiply-adds in the order of the sum. A sum over the batch
// goes in slices: each slice is a chain from zero, and the slices are added up in order. So results do not
// depend on the instruction set, or on the batch that a row came in. They do not depend on how threads share
// rows or blocks.
// Kernels neither allocate nor throw. Different threads may be given different ranges of rows and of blocks.
#pragma once

#include "densegrad/activations.hpp"
#include "densegrad/data.hpp"
#include "densegrad/layers.hpp"
#include "densegrad/losses.hpp"
#include "densegrad/optimizers.hpp"
#include "precision.hpp"

#include <cstddef>
#include <cstdint>

namespace densegrad {

using Index = std::int64_t;

inline constexpr Index kBatchSlice = 256;
inline constexpr Index kMaxLeaves = 1024; // of a piece
inline constexpr int kTwisterWords = 624; // of the key of a Mersenne Twister

template <class T> constexpr Index line_count(Index n) { return (n + kLanes<T> - 1) / kLanes<T>; }

// Gather picks rows of X by `order`, converts them to T and lays them out in lines.
template <class T> struct GatherArgs {
    const RowsView *rows;
    const Index *order; // (batch,) row numbers of X; null: rows first_row, first_row + 1, ...
    Index first_row;
    T *output; // [ceil(n_columns / kLanes)][stride]
    Index stride;
};

// An entry is a number of a sparse matrix that is stored, with its place in the row or column.
template <class T> struct Entry {
    std::uint32_t at;
    T value;
};

struct EntrySpan {
    Index begin, end;
};

// The rows or the columns of a sparse batch. Entries [spans[i].begin, spans[i].end) are those of row or
// column i, in ascending order and none twice. Between the spans may be entries of other places that exist.
template <class T> struct SparseView {
    const Entry<T> *entries;
    const EntrySpan *spans;
};

// The mask is drawn from a counter: its bits are the same on every thread and instruction set.
template <class T> struct DropoutArgs {
    std::uint32_t threshold = 0; // a unit is dropped if its 32 random bits are below this; 0: no dropout
    T scale = 1;                 // 1 / (1 - rate), for the units that stay
    std::uint64_t key = 0;       // of (seed, step, layer)
};

// Forward computes y = a([x, 1] W) for rows [row_begin, row_end).
template <class T> struct ForwardArgs {
    const T *input; // [ceil(n_in / kLanes)][input_stride]
    Index input_stride;
    const T *weights;
    T *output; // [ceil(n_out / kLanes)][output_stride]; with softmax the preactivation is left here
    Index output_stride;
    T *local; // like output: receives dy/dz; null: not wanted
    Index n_in, n_out;
    Activation activation;
    DropoutArgs<T> dropout;
    Index first_row;             // number of row 0 in the batch, for the dropout counter
    const SparseView<T> *sparse; // the rows, in place of `input`; null: they are dense
};

// For rows [row_begin, row_end), backward computes L'_(l-1) = delta_(l) W^T and, from it, delta_(l-1) =
// L'_(l-1) dy/dz.
template <class T> struct BackwardArgs {
    const T *delta; // [ceil(n_out / kLanes)][delta_stride]
    Index delta_stride;
    const T *transposed;
    T *input_delta;   // out: delta_(l-1) [ceil(n_in / kLanes)][input_stride]
    T *loss_gradient; // out: L'_(l-1), like input_delta; null: not wanted
    const T *output;  // y_(l-1), like input_delta: used if the local gradient follows from it
    const T *local;   // dy/dz, like input_delta; null: it follows from the output
    Index input_stride;
    Index n_in, n_out;
    Activation activation; // of layer l - 1; identity for the input layer
};

// What an elementwise layer has beside the arguments of forward and backward (elementwise.hpp). Its weights
// are those of a dense layer of n_in = 0: [ceil(n / kLanes)][1][kLanes].
template <class T> struct Elementwise {
    LayerKind kind;
    Activation activation; // of blend
    const T *weights;
    T *share; // out of the backward pass: delta dz/dv, like delta; summed over the batch by update_weights
};

// What the last layer does with z_(L).
struct Head {
    Activation activation;
    Index n_levels = 1; // outputs of a target that never cross: q_0 = z_0, q_k = q_(k-1) + softplus(z_k)

    constexpr Jacobian jacobian() const { return jacobian_of(activation, n_levels); }
};

// The loss layer's own numbers.
template <class T> struct LossArgs {
    Loss loss;
    Head head;
    Index n_out;     // n_L
    Index n_targets; // values in a row of the target: n_out, or fewer if a target has several outputs
    T parameter;     // of the table row
    T label_smoothing;
    const T *levels; // quantile: head.n_levels increasing levels in (0, 1)
};

// This is head and loss layer in one. For rows [row_begin, row_end) it turns z_(L) into y_(L), the loss of
// each row and delta_(L).
template <class T> struct LossLayerArgs {
    LossArgs<T> loss;
    T *output;        // in: z_(L), out: y_(L); [ceil(n_out / kLanes)][stride]
    T *delta;         // out: row weight * dloss/dz
    T *loss_gradient; // out: row weight * dloss/dy; null: not wanted
    T *local;         // out: dy/dz, if the head has a buffer for it; null: not wanted
    Index stride;
    Targets targets;
    const Index *order; // as in GatherArgs
    Index first_row;
    double weight_scale; // row weight = sample_weight * weight_scale
    double *row_loss;    // out: (batch,) the loss of each row, unweighted
    T *scratch;          // head_scratch_size<T>(n_out) numbers, one such per thread, 64-byte aligned
};
template <class T> constexpr Index head_scratch_size(Index n_out) { return (5 * n_out + 4) * kLanes<T>; }

// This is the head alone. activate turns z_(L) into y_(L) if the Jacobian is not diagonal; forward does the
// other heads. delta turns L'_(L) and y_(L) into delta_(L) = L'_(L) dy_(L)/dz_(L).
template <class T> struct HeadArgs {
    T *output;      // [ceil(n_out / kLanes)][stride]
    T *delta;       // in: L'_(L), out: delta_(L); not used by activate
    const T *local; // dy/dz if it has a buffer; null: it follows from the output
    Index stride;
    Index n_out;
    Head head;
    T *scratch; // as in LossLayerArgs
};

// A moving mean keeps beta of itself, and takes 1 - beta, rounded once, of the new number.
template <class T> struct Decay {
    T kept, added;

    static Decay of(double beta) { return {static_cast<T>(beta), static_cast<T>(1.0 - beta)}; }
};

// One step of an optimizer: the coefficients that all weights share.
template <class T> struct OptimizerStep {
    Optimizer optimizer;
    bool nesterov;
    T learning_rate; // with Adam's bias corrections folded in if the formula allows it
    T momentum;      // SGD, RMSprop
    Decay<T> beta_1, beta_2;
    T epsilon;
    T correction_1, correction_2; // NAdam: factors of the momentum and of the gradient
    T second_moment_scale;        // 1 / (1 - beta_2^t), if it cannot be folded into the learning rate
    T l2;                         // added to the gradient: l2 * w
    T l1;                         // added to the gradient: l1 * sign(w)
    T decay;                      // decoupled weight decay: w -= decay * w
};

// A layer's bias row has a step of its own.
template <class T> struct LayerStep {
    OptimizerStep<T> weights, bias;
};

// What the sum over the batch does with `gradient`.
enum class GradientMode : int {
    none,       // starts from zero and is not stored
    overwrite,  // starts from zero and is stored
    accumulate, // starts from what is stored and is stored
    consume,    // starts from what is stored, which is then of no more use
};

// The kernel sums the weight gradient of one layer, dW = [y, 1]^T delta, block by block, and uses a block
// while it is in registers. There are six steps, and each may be left out. In a block each step sees what
// the one before has left:
//
//     sum        over n_rows rows of the batch, in slices, by the mode from `start` on. With `leaf_ends`, the
//                rows of each leaf are summed so from zero, and the sums of the leaves are added in a tree:
//                [i, i + 2s) = [i, i + s) + [i + s, i + 2s), s a power of two. Leaves without rows are +0
//     merge      with `merges`: adds stored sums of the batch's earlier leaves
//     store      by the mode, to `gradient`
//     update     with `step`: gradient_scale * sum goes through the optimizer into weights and state
//     transpose  with `transposed`: the transposed copy gets the block's weights
//     measure    with `penalty`: sums of w^2 and |w| of the block, for the loss
//
// Training uses six of the combinations (updates.hpp). It sums a batch's last rows and updates. It sums and
// stores the rows before them, or sums and adds them. It updates from what is stored, if the whole gradient
// had to be known first. It refreshes the copy, or measures.
template <class T> struct WeightArgs {
    const T *input; // y_(l-1) [ceil(n_in / kLanes)][input_stride]
    Index input_stride;
    const T *delta; // delta_(l) [ceil(n_out / kLanes)][delta_stride]
    Index delta_stride;
    Index n_rows; // rows of the batch summed here; 0: only what `gradient` holds
    Index n_in, n_out;
    T *weights;     // read and, if `step` is not null, updated
    T *transposed;  // out; null: not wanted
    T *gradient;    // like weights; written in modes overwrite and accumulate
    const T *start; // like weights; read in modes accumulate and consume
    GradientMode gradient_mode;
    const Index *leaf_ends; // (n_leaves,) where the rows of each leaf end; null: no leaves
    Index n_leaves;         // at most kMaxLeaves
    const T *const *merges; // (n_merges,) buffers, added the last one first
    Index n_merges;
    Index merge_at;              // where this layer's numbers, like weights, begin in each of them
    T gradient_scale;            // applied to the sum before the step (gradient clipping; else 1)
    const LayerStep<T> *step;    // null: no update
    T *state[2];                 // like weights
    double *penalty;             // out: (2, block_count) sums of w^2 and of |w|, bias row left out, by
                                 // BlockPosition::in_panels(); null: not wanted
    const SparseView<T> *sparse; // the columns, in place of `input`; null: they are dense

    bool starts_from_gradient() const {
        return gradient_mode == GradientMode::accumulate || gradient_mode == GradientMode::consume;
    }
    bool stores_gradient() const {
        return gradient_mode == GradientMode::overwrite || gradient_mode == GradientMode::accumulate;
    }
};

// Lines of inputs whose blocks a panel has: at least one, for the bias row.
template <class T> constexpr Index block_columns(Index n_in) { return n_in > 0 ? line_count<T>(n_in) : 1; }

// Blocks of a layer's weights. The last block of a panel has the bias row too. Without inputs there is
// nothing else in it.
template <class T> constexpr Index block_count(Index n_in, Index n_out) {
    return block_columns<T>(n_in) * line_count<T>(n_out);
}

// Products of vectors with one or two others, over lines [line_begin, line_end).
template <class T> struct ProductsArgs {
    const T *const *vectors; // (count,)
    Index count;
    const T *with[2]; // the second may be null: not wanted
    T *products;      // out: (2, count), or (1, count)
};

// out = the sum of factors[k] * vectors[k], lines [line_begin, line_end). `out` may be one of the vectors.
template <class T> struct CombinationArgs {
    const T *const *vectors; // (count,), at least one
    const T *factors;        // (count,)
    Index count;
    T *out;
};

// BlockPosition says where a block lies and which block comes next. Two panels at a time are numbered
// together, so that their blocks' inputs are read once (n_in = 3 lines, n_out = 3 lines):
//
//     panel    0  1  2
//     column   0  1  6
//              2  3  7
//              4  5  8
template <class T> struct BlockPosition {
    Index columns, panels; // of the layer: lines of inputs and of outputs
    Index panel, column;

    constexpr BlockPosition(Index n_in, Index n_out, Index number)
        : columns(block_columns<T>(n_in)), panels(line_count<T>(n_out)), panel(number / (2 * columns) * 2),
          column(number - panel * columns) {
        if (panel + 1 < panels) {
            panel += column % 2;
            column /= 2;
        }
    }
    constexpr void next() {
        if (panel % 2 == 0 && panel + 1 < panels) {
            ++panel;
            return;
        }
        panel -= panel % 2;
        if (++column == columns) {
            column = 0;
            panel += 2;
        }
    }
    // Gives its number as if panel after panel were numbered: sums over blocks go in this order.
    constexpr Index in_panels() const { return panel * columns + column; }
};

// Multiplies y and local (null: none) of all columns of a layer by the mask of dropout times its scale, for
// rows [row_begin, row_end). forward does so itself, unless the activation is a custom one.
template <class T> struct MaskArgs {
    DropoutArgs<T> dropout;
    T *output; // [ceil(n_out / kLanes)][stride]
    T *local;  // like output; null: not wanted
    Index stride;
    Index n_out;
    Index first_row; // as in ForwardArgs
};

template <class T> struct Kernels {
    void (*gather)(const GatherArgs<T> &, Index row_begin, Index row_end);
    // Copies the stored numbers of a sparse row. Returns whether their columns exist and ascend.
    bool (*pack)(const RowsView &rows, EntrySpan stored, Entry<T> *entries);
    void (*forward)(const ForwardArgs<T> &, Index row_begin, Index row_end);
    void (*mask)(const MaskArgs<T> &, Index row_begin, Index row_end);
    void (*backward)(const BackwardArgs<T> &, Index row_begin, Index row_end);
    // The same for elementwise layers; input_delta may be null, if only the share is wanted.
    void (*elementwise_forward)(const ForwardArgs<T> &, const Elementwise<T> &, Index row_begin,
                                Index row_end);
    void (*elementwise_backward)(const BackwardArgs<T> &, const Elementwise<T> &, Index row_begin,
                                 Index row_end);
    void (*loss_layer)(const LossLayerArgs<T> &, Index row_begin, Index row_end);
    void (*head_activate)(const HeadArgs<T> &, Index row_begin, Index row_end);
    void (*head_delta)(const HeadArgs<T> &, Index row_begin, Index row_end);
    void (*update_weights)(const WeightArgs<T> &, Index block_begin, Index block_end);
    // Steps with the weights from `sparse` columns that a list names, n_in for the biases. It is for plain
    // SGD alone, with mode none. It writes the velocity if state[0] is not null, and never reads it.
    void (*step_with_columns)(const WeightArgs<T> &, const Index *columns, Index begin, Index end);
    void (*products)(const ProductsArgs<T> &, Index line_begin, Index line_end);
    void (*combine)(const CombinationArgs<T> &, Index line_begin, Index line_end);
    // Gives the largest absolute value of these lines, infinity if there is NaN.
    T (*largest)(const T *vector, Index line_begin, Index line_end);
};

struct KernelTable {
    const char *name; // of the instruction set
    // Draws `count` numbers from ± bound (mersenne_twister.hpp). Returns the new position.
    Index (*draw_uniform)(std::uint32_t *key, Index position, double bound, double *out, Index count);
    Kernels<float> float32;
    Kernels<double> float64;
};

namespace avx512 {
extern constinit const KernelTable kKernels;
}
namespace avx2 {
extern constinit const KernelTable kKernels;
}
namespace neon {
extern constinit const KernelTable kKernels;
}
namespace generic {
extern constinit const KernelTable kKernels;
}

} // namespace densegrad
