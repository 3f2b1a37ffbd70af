// The buffers of a forward and backward pass, and the rows that go through it.
#pragma once

#include "densegrad/data.hpp"

#include "layer.hpp"
#include "memory.hpp"
#include "sparse_batch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace densegrad {

// A pass holds so many rows at once; longer batches go piece by piece. The number is a multiple of
// kBatchSlice, so that the pieces add up in the same slices whatever it is.
inline constexpr Index kPieceRows = 1024;
static_assert(kPieceRows % kBatchSlice == 0);

// What a pass keeps.
struct PassOptions {
    bool training = false;       // dropout is drawn
    bool loss_gradients = false; // L'_(l) beside delta_(l), and dy/dz of the head
    bool cached = true;          // false: forward only, two layers' outputs at a time
    bool sparse = false;         // the rows are sparse

    static PassOptions predicting() {
        PassOptions options;
        options.cached = false;
        return options;
    }
    bool operator==(const PassOptions &) const = default;
};

// These are the buffers over at most `rows` rows, in columns of lines. The thread that has a row writes its
// part of them. What the forward pass leaves stays until the next one:
//
//     output[l]         written by forward (l = 0: gather); the head overwrites z_(L) with y_(L)
//     local[l]          written by forward if dy/dz has a buffer; of the head also by the loss layer
//     delta[l]          written by the loss layer or head_delta (l = L), then by backward, which reads
//                       delta[l + 1], output[l] and local[l] and changes none of them
//     share[l]          of elementwise layers written by backward, beside delta[l - 1]
//     loss_gradient[l]  written beside delta[l]; nobody reads it on the way
//     row_loss, scratch overwritten by every loss layer
//
// If the rows are sparse, `sparse` takes the place of output[0].
//
// If nothing is cached, all output[l] are two buffers in turn, and forward overwrites output[l - 2].
template <class T> struct Pass {
    Index rows; // capacity
    // Numbers from one column of lines to the next: an odd number of lines, which spreads over the cache.
    Index stride;
    PassOptions options;
    std::vector<T *> output;        // y_(l), l = 0 ... L
    std::vector<T *> local;         // dy_(l)/dz_(l), l = 1 ... L, if it has a buffer
    std::vector<T *> delta;         // dLoss/dz_(l), l = 1 ... L; L'_(0) at 0 if needed
    std::vector<T *> loss_gradient; // L'_(l), l = 0 ... L, if asked for, at 0 if needed
    std::vector<T *> share;         // delta_(l) dz_(l)/dv_(l) of elementwise layers
    double *row_loss;               // (rows,)
    std::vector<T *> scratch;       // one per thread, for the head
    Arena arena, input_arena;
    std::unique_ptr<SparseBatch<T>> sparse;

    Pass(const std::vector<Layer<T>> &layers, Index rows_, int n_threads, PassOptions options_)
        : rows(rows_), stride(checked_product(rows_ | 1, kLanes<T>)), options(options_) {
        const std::size_t depth = layers.size();
        output.resize(depth + 1);
        local.resize(depth + 1);
        delta.resize(depth + 1);
        loss_gradient.resize(depth + 1);
        share.resize(depth + 1);
        scratch.resize(static_cast<std::size_t>(n_threads));
        if (options.sparse)
            sparse = std::make_unique<SparseBatch<T>>(rows, layers[0].n_in);
        carve(layers, [&](auto *&buffer, Index count) {
            using Number = std::remove_reference_t<decltype(*buffer)>;
            arena.template plan<Number>(count);
        });
        arena.allocate();
        carve(layers, [&](auto *&buffer, Index count) {
            using Number = std::remove_reference_t<decltype(*buffer)>;
            buffer = arena.template take<Number>(count);
        });
    }

    // Tells whether another one would be of no more use.
    bool fits(Index rows_, int n_threads, PassOptions wanted) const {
        return rows == rows_ && options == wanted && static_cast<int>(scratch.size()) >= n_threads;
    }

    // Makes room for L'_(0), which a backward pass down to the input needs.
    void need_input_gradient(Index n_in) {
        if (delta[0])
            return;
        const Index count = checked_product(line_count<T>(n_in), stride);
        Arena room;
        room.plan<T>(count);
        if (options.loss_gradients)
            room.plan<T>(count);
        room.allocate();
        delta[0] = room.take<T>(count);
        if (options.loss_gradients)
            loss_gradient[0] = room.take<T>(count);
        input_arena = std::move(room);
    }

    bool has_local(const Layer<T> &layer) const {
        return layer.local_gradient() == LocalGradient::buffer || (options.training && layer.dropout > 0);
    }

  private:
    template <class Visit> void carve(const std::vector<Layer<T>> &layers, Visit visit) {
        Index widest = 0;
        for (std::size_t l = options.sparse ? 1 : 0; l <= layers.size(); ++l) {
            const Index width = l == 0 ? layers[0].n_in : layers[l - 1].n_out;
            const Index count = checked_product(line_count<T>(width), stride);
            widest = std::max(widest, count);
            if (!options.cached)
                continue;
            visit(output[l], count);
            if (l > 0 && has_local(layers[l - 1]))
                visit(local[l], count);
            if (l > 0)
                visit(delta[l], count);
            if (l > 0 && layers[l - 1].elementwise())
                visit(share[l], count);
            if (l > 0 && options.loss_gradients)
                visit(loss_gradient[l], count);
        }
        if (!options.cached) {
            visit(output[0], widest);
            visit(output[1], widest);
            for (std::size_t l = 2; l <= layers.size(); ++l)
                output[l] = output[l - 2];
            // evaluate() needs somewhere for delta_(L)
            visit(delta[layers.size()], checked_product(line_count<T>(layers.back().n_out), stride));
        }
        visit(row_loss, rows);
        for (T *&buffer : scratch)
            visit(buffer, head_scratch_size<T>(layers.back().n_out));
    }
};

// The rows of one pass: which rows of X and of the targets, and where in the batch they stand.
template <class T> struct Batch {
    const RowsView *rows;
    Targets targets{};
    const Index *order = nullptr; // null: rows first_row, first_row + 1, ...
    Index first_row = 0;          // the first row if there is no order
    Index first_in_batch = 0;     // for the dropout counter
    double weight_scale = 0.0;    // 1 / (sum of the batch's sample weights)
    std::uint64_t dropout_key = 0;
    double dropout_factor = 1.0;

    // Rows that are sparse need a place in the pass before it goes over them.
    void place(const Pass<T> &pass, Index count) const {
        if (pass.sparse)
            pass.sparse->place(*rows, count, [this](Index r) { return row_number(r); });
    }
    GatherArgs<T> gather(T *output, Index stride) const {
        return {.rows = rows, .order = order, .first_row = first_row, .output = output, .stride = stride};
    }
    Index row_number(Index r) const { return order ? order[r] : first_row + r; }
    // The same without the first r rows.
    Batch from(Index r) const {
        Batch other = *this;
        other.order = order ? order + r : nullptr;
        other.first_row += r;
        other.first_in_batch += r;
        return other;
    }
};

} // namespace densegrad
