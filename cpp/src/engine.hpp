// What network and trainer share: layers, the buffers of a pass, and the two phases over them.
#pragma once

#include "densegrad/network.hpp"
#include "dispatch.hpp"
#include "memory.hpp"
#include "team.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <thread>
#include <vector>

namespace densegrad {

// Rows that a pass holds at once; longer batches go piece by piece. A multiple of kBatchSlice, so that the
// pieces add up in the same slices whatever this is.
inline constexpr Index kPieceRows = 1024;
static_assert(kPieceRows % kBatchSlice == 0);

template <class T> struct Layer {
    Index n_in, n_out;
    Activation activation;
    double dropout;
    Index n_levels = 1; // of the head: outputs of a target that never cross (several quantile levels)
    T *weights = nullptr;
    T *transposed = nullptr; // null until a backward pass needs it
    T *gradient = nullptr;   // null until somebody asks for it
    bool transposed_is_current = false;

    Index weight_count() const { return line_count<T>(n_out) * (n_in + 1) * kLineLength<T>; }
    Index transposed_count() const { return line_count<T>(n_in) * n_out * kLineLength<T>; }
    // Multiplications a row, padding included.
    double work() const {
        return static_cast<double>(n_in + 1) * static_cast<double>(line_count<T>(n_out) * kLineLength<T>);
    }
    Index panel() const { return (n_in + 1) * kLineLength<T>; }
    Index units() const { return weight_units<T>(n_in, n_out); }
    LocalGradient local_gradient() const { return kActivations[static_cast<int>(activation)].local_gradient; }
};

// What a pass wants kept.
struct PassOptions {
    bool training = false;       // dropout is drawn
    bool loss_gradients = false; // L'_(l) beside delta_(l)
    bool input_gradient = false; // L'_(0)
    bool cached = true;          // false: forward only, two layers' outputs at a time

    static PassOptions predicting() {
        PassOptions options;
        options.cached = false;
        return options;
    }
};

// The buffers of a pass over at most `rows` rows. Everything cached in the forward pass lives here until the
// next.
template <class T> struct Pass {
    Index rows;   // capacity
    Index stride; // numbers from one column of lines to the next: an odd number of lines, which spreads over
                  // the cache
    PassOptions options;
    std::vector<T *> output;        // y_(l), l = 0 ... L
    std::vector<T *> local;         // dy_(l)/dz_(l), l = 1 ... L, where it has a buffer
    std::vector<T *> delta;         // dLoss/dz_(l), l = 1 ... L; with input_gradient also L'_(0) at 0
    std::vector<T *> loss_gradient; // L'_(l), l = 0 ... L, where asked for
    double *row_loss;
    std::vector<T *> scratch; // one per thread, for the head
    Arena arena;

    Pass(const std::vector<Layer<T>> &layers, Index rows_, int n_threads, PassOptions options_)
        : rows(rows_), stride(checked_product(rows_ | 1, kLineLength<T>)), options(options_) {
        const std::size_t depth = layers.size();
        output.resize(depth + 1);
        local.resize(depth + 1);
        delta.resize(depth + 1);
        loss_gradient.resize(depth + 1);
        scratch.resize(static_cast<std::size_t>(n_threads));
        carve(layers, [&](auto *&piece, Index count) {
            using Number = std::remove_reference_t<decltype(*piece)>;
            arena.template plan<Number>(count);
        });
        arena.allocate();
        carve(layers, [&](auto *&piece, Index count) {
            using Number = std::remove_reference_t<decltype(*piece)>;
            piece = arena.template take<Number>(count);
        });
    }

    bool has_local(const Layer<T> &layer) const {
        return layer.local_gradient() == LocalGradient::buffer || (options.training && layer.dropout > 0);
    }

  private:
    template <class Visit> void carve(const std::vector<Layer<T>> &layers, Visit visit) {
        Index widest = 0;
        for (std::size_t l = 0; l <= layers.size(); ++l) {
            const Index width = l == 0 ? layers[0].n_in : layers[l - 1].n_out;
            const Index count = checked_product(line_count<T>(width), stride);
            widest = std::max(widest, count);
            if (!options.cached)
                continue;
            visit(output[l], count);
            if (l > 0 && has_local(layers[l - 1]))
                visit(local[l], count);
            if (l > 0 || options.input_gradient)
                visit(delta[l], count);
            if (options.loss_gradients)
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
        for (T *&piece : scratch)
            visit(piece, head_scratch_size<T>(layers.back().n_out));
    }
};

// The rows of one pass: which rows of X and of the targets, and where in the batch they stand.
template <class T> struct Batch {
    const RowsView *rows;
    TargetsView<T> targets;
    const Index *order;   // null: rows first_row, first_row + 1, ...
    Index first_row;      // the first row when there is no order
    Index first_in_batch; // for the dropout counter
    double weight_scale;  // 1 / (sum of the batch's sample weights)
    std::uint64_t dropout_key;

    GatherArgs<T> gather(T *output, Index stride) const { return {rows, order, first_row, output, stride}; }
};

inline std::uint64_t mix_bits(std::uint64_t x) { // the finaliser of SplitMix64 (Steele, Lea, Flood 2014)
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

template <class T>
ForwardArgs<T> forward_args(const std::vector<Layer<T>> &layers, const Pass<T> &pass, const Batch<T> &batch,
                            std::size_t l) {
    const Layer<T> &layer = layers[l - 1];
    DropoutArgs<T> dropout;
    if (pass.options.training && layer.dropout > 0) {
        dropout.threshold = static_cast<std::uint32_t>(layer.dropout * 4294967296.0);
        dropout.scale = static_cast<T>(1.0 / (1.0 - layer.dropout));
        dropout.key = mix_bits(batch.dropout_key + l);
    }
    return {pass.output[l - 1], pass.stride,   layer.weights,       pass.output[l],
            pass.stride,        pass.local[l], layer.n_in,          layer.n_out,
            layer.activation,   dropout,       batch.first_in_batch};
}

// Asks a StopRequest, no more often than is good, and cuts long work into parts between which it can ask.
// Made by the calling thread, which alone asks; the other members of its team see the answer.
class StopWatch {
  public:
    explicit StopWatch(StopRequest request) : request_(request) {}

    bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

    bool ask() {
        if (!request_.asked || stopped() || std::this_thread::get_id() != caller_)
            return stopped();
        const auto now = std::chrono::steady_clock::now();
        if (now - asked_ < std::chrono::milliseconds(50))
            return false;
        asked_ = now;
        stopped_.store(request_.asked(request_.context), std::memory_order_relaxed);
        return stopped();
    }

    // Calls work(begin, end) for parts of a range of things that cost `multiplications` each. Whether it came
    // through: false if it was stopped on the way.
    template <class Work> bool run(Index begin, Index end, double multiplications, Work work) {
        constexpr double kLongest = 1e9; // some 15 ms
        constexpr double kShort = 5e7;   // a look at the clock would take longer than is worth it
        constexpr Index kLeast = 48;     // of rows, or the weights would be read too often
        if (multiplications * static_cast<double>(end - begin) <= kShort) {
            work(begin, end);
            return true;
        }
        const Index longest =
            std::max(kLeast, static_cast<Index>(kLongest / multiplications) / kLeast * kLeast);
        for (Index part = begin; part < end; part += longest) {
            if (ask())
                return false;
            work(part, std::min(end, part + longest));
        }
        return true;
    }

  private:
    StopRequest request_;
    std::thread::id caller_ = std::this_thread::get_id();
    std::atomic<bool> stopped_{false};
    std::chrono::steady_clock::time_point asked_ = std::chrono::steady_clock::now();
};

// Multiplications that take as long as to copy a number.
inline constexpr double kWorkOfCopy = 16.0;

// Gather and layers 1 ... L - 1; then the head's preactivation, or with `activate_head` y_(L). Whether it
// came through.
template <class T>
bool forward_rows(const std::vector<Layer<T>> &layers, const Pass<T> &pass, const Batch<T> &batch,
                  bool activate_head, const Kernels<T> &kernels, StopWatch &watch, int thread, Index begin,
                  Index end) {
    if (begin >= end)
        return true;
    const std::size_t depth = layers.size();
    const GatherArgs<T> gather = batch.gather(pass.output[0], pass.stride);
    if (!watch.run(begin, end, kWorkOfCopy * static_cast<double>(layers[0].n_in),
                   [&](Index from, Index to) { kernels.gather(gather, from, to); }))
        return false;
    for (std::size_t l = 1; l <= depth; ++l) {
        ForwardArgs<T> args = forward_args(layers, pass, batch, l);
        if (l == depth && !activate_head) {
            args.activation = Activation::identity;
            args.local = nullptr;
        }
        if (!watch.run(begin, end, layers[l - 1].work(),
                       [&](Index from, Index to) { kernels.forward(args, from, to); }))
            return false;
    }
    if (activate_head && (layers.back().activation == Activation::softmax || layers.back().n_levels > 1))
        kernels.head_activate(head_only_args(layers, pass, thread), begin, end);
    return true;
}

// From delta_(L) to delta_(1), and with input_gradient on to L'_(0), which lands in delta[0]. Whether it came
// through.
template <class T>
bool backward_rows(const std::vector<Layer<T>> &layers, const Pass<T> &pass, bool input_gradient,
                   const Kernels<T> &kernels, StopWatch &watch, Index begin, Index end) {
    if (begin >= end)
        return true;
    const std::size_t last = input_gradient ? 0 : 1;
    for (std::size_t l = layers.size(); l > last; --l) {
        const Layer<T> &layer = layers[l - 1];
        const bool input = l == 1;
        const BackwardArgs<T> args{pass.delta[l],
                                   pass.stride,
                                   layer.transposed,
                                   pass.delta[l - 1],
                                   pass.loss_gradient[l - 1],
                                   pass.output[l - 1],
                                   pass.local[l - 1],
                                   pass.stride,
                                   layer.n_in,
                                   layer.n_out,
                                   input ? Activation::identity : layers[l - 2].activation};
        if (!watch.run(begin, end, layer.work(),
                       [&](Index from, Index to) { kernels.backward(args, from, to); }))
            return false;
    }
    return true;
}

template <class T>
HeadArgs<T> head_args(const LossArgs<T> &loss, const Pass<T> &pass, const Batch<T> &batch, int thread) {
    const std::size_t depth = pass.output.size() - 1;
    return {loss,
            pass.output[depth],
            pass.delta[depth],
            pass.loss_gradient[depth],
            pass.stride,
            batch.targets,
            batch.order,
            batch.first_row,
            batch.weight_scale,
            pass.row_loss,
            pass.scratch[static_cast<std::size_t>(thread)]};
}

template <class T>
HeadOnlyArgs<T> head_only_args(const std::vector<Layer<T>> &layers, const Pass<T> &pass, int thread) {
    const std::size_t depth = layers.size();
    return {pass.output[depth],
            pass.delta[depth],
            pass.local[depth],
            pass.stride,
            layers.back().n_out,
            layers.back().activation,
            pass.scratch[static_cast<std::size_t>(thread)],
            layers.back().n_levels};
}

template <class T>
WeightArgs<T> weight_args(const Layer<T> &layer, const Pass<T> &pass, std::size_t l, Index rows) {
    WeightArgs<T> args{};
    args.input = pass.output[l - 1];
    args.input_stride = pass.stride;
    args.delta = pass.delta[l];
    args.delta_stride = pass.stride;
    args.n_rows = rows;
    args.n_in = layer.n_in;
    args.n_out = layer.n_out;
    args.weights = layer.weights;
    args.gradient = layer.gradient;
    args.gradient_scale = T(1);
    return args;
}

// Multiplications of the weight gradient of one unit.
template <class T> double unit_work(Index rows) {
    return static_cast<double>(kLineLength<T> * kLineLength<T> * rows);
}

// Units of all layers in chunks of about the same number of weight rows, a few for each member of a team.
class UnitChunks {
  public:
    struct Piece {
        std::size_t l;
        Index begin, end;
    };

    template <class T> UnitChunks(const std::vector<Layer<T>> &layers, int team_size) {
        const Index n_chunks = team_size == 1 ? 1 : 4 * team_size;
        chunks_.resize(static_cast<std::size_t>(n_chunks));
        // A unit costs its rows; a little is the same for each.
        constexpr Index kUnitCost = 2;
        Index total = 0;
        for (const Layer<T> &layer : layers)
            total += line_count<T>(layer.n_out) * (layer.n_in + 1 + kUnitCost * line_count<T>(layer.n_in));
        Index before = 0;
        for (std::size_t l = 1; l <= layers.size(); ++l) {
            const Layer<T> &layer = layers[l - 1];
            const Index columns = line_count<T>(layer.n_in);
            for (Index unit = 0; unit < layer.units(); ++unit) {
                std::vector<Piece> &chunk = chunks_[static_cast<std::size_t>(before * n_chunks / total)];
                if (chunk.empty() || chunk.back().l != l)
                    chunk.push_back({l, unit, unit});
                chunk.back().end = unit + 1;
                const bool last = unit % columns == columns - 1;
                before +=
                    kUnitCost + (last ? layer.n_in - (columns - 1) * kLineLength<T> + 1 : kLineLength<T>);
            }
        }
    }

    // visit(piece) for all pieces, shared among the team.
    template <class Visit> void share(Team &team, Visit visit) const {
        team.share(static_cast<Index>(chunks_.size()), [&](Index chunk, int) {
            for (const Piece &piece : chunks_[static_cast<std::size_t>(chunk)])
                visit(piece);
        });
    }

  private:
    std::vector<std::vector<Piece>> chunks_;
};

// Sums in slices of kBatchSlice, each in order, added up in order.
inline double sliced_sum(const double *values, Index count) {
    double total = 0.0;
    for (Index first = 0; first < count; first += kBatchSlice) {
        double slice = 0.0;
        for (Index i = first; i < std::min(count, first + kBatchSlice); ++i)
            slice += values[i];
        total += slice;
    }
    return total;
}

} // namespace densegrad
