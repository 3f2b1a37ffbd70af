#include "network_of.hpp"

#include "custom_activation.hpp"
#include "lines.hpp"
#include "network_spec.hpp"
#include "passes.hpp"
#include "row_phase.hpp"
#include "stop_watch.hpp"
#include "sums.hpp"
#include "updates.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

namespace densegrad {
Jacobian Network::jacobian(int l) const {
    const bool head = l == depth();
    return jacobian_of(spec().layers[static_cast<std::size_t>(l - 1)].activation,
                       head ? static_cast<std::int64_t>(spec().loss.levels.size()) : 1);
}

std::int64_t Network::n_parameters() const {
    std::int64_t count = 0;
    for (int l = 1; l <= depth(); ++l)
        count += weight_rows(l) * width(l);
    return count;
}

std::unique_ptr<Network> make_network(const NetworkSpec &spec) {
    check_spec(spec);
    if (spec.scalar == Scalar::float32)
        return std::make_unique<NetworkOf<float>>(spec);
    return std::make_unique<NetworkOf<double>>(spec);
}

template <class T>
NetworkOf<T>::NetworkOf(const NetworkSpec &spec) : spec_(spec), kernels_(densegrad::kernels<T>()) {
    n_targets_ = count_targets(spec);
    for (const double level : spec.loss.levels)
        levels_.push_back(static_cast<T>(level));
    if (levels_.empty())
        levels_.push_back(static_cast<T>(spec.loss.parameter));
    Index n_in = spec.n_inputs;
    for (const LayerSpec &layer : spec.layers) {
        const bool elementwise = is_elementwise(layer.kind);
        layers_.push_back(Layer<T>{n_in, layer.n_units, elementwise ? Activation::identity : layer.activation,
                                   layer.dropout, layer.trainable, layer.rates, layer.custom, layer.kind,
                                   elementwise ? layer.activation : Activation::identity});
        n_in = layer.n_units;
    }
    layers_.back().n_levels = std::max<Index>(1, static_cast<Index>(spec.loss.levels.size()));
    Index first_weight = 0;
    for (Layer<T> &layer : layers_) {
        checked_product(line_count<T>(layer.n_out) * kLanes<T>, layer.rows());
        weights_.plan<T>(layer.weight_count());
        layer.first_weight = first_weight;
        first_weight += layer.weight_count();
    }
    weights_.allocate();
    for (Layer<T> &layer : layers_)
        layer.weights = weights_.take<T>(layer.weight_count());
}

template <class T> LossArgs<T> NetworkOf<T>::loss_args(double smoothing_factor) const {
    Head head = layers_.back().head();
    if (head.activation == Activation::custom)
        head.activation = Activation::identity; // its y_(L) is there before the loss layer (loss_rows)
    return {spec_.loss.loss,
            head,
            layers_.back().n_out,
            n_targets_,
            static_cast<T>(spec_.loss.parameter),
            static_cast<T>(spec_.loss.label_smoothing * smoothing_factor),
            levels_.data()};
}

template <class T> void NetworkOf<T>::check_layer(int l, int first) const {
    if (l < first || l > depth())
        throw std::out_of_range("layer " + std::to_string(l) + " is not in " + std::to_string(first) +
                                " ... " + std::to_string(depth()));
}

template <class T> void NetworkOf<T>::check_rows(const RowsView &rows) const {
    if (rows.n_columns != spec_.n_inputs)
        throw std::invalid_argument("X must have " + std::to_string(spec_.n_inputs) + " columns, got " +
                                    std::to_string(rows.n_columns));
}

template <class T> void NetworkOf<T>::check_targets(const Targets &targets) const {
    if (targets.classes) {
        if (loss_row(spec_.loss.loss).target == TargetKind::values)
            throw std::invalid_argument("class numbers are no targets for this loss");
        if (layers_.back().n_out > 1 && layers_.back().activation == Activation::logistic)
            throw std::invalid_argument("multi-label targets must be 0/1 of shape (batch, n_L)");
    } else if (targets.values) {
        if (targets.n_targets != n_targets_)
            throw std::invalid_argument("the target must have " + std::to_string(n_targets_) +
                                        " columns, got " + std::to_string(targets.n_targets));
    } else if (spec_.loss.loss != Loss::custom) {
        throw std::invalid_argument("the loss needs a target");
    }
}

template <class T> void NetworkOf<T>::set_weights(int l, const RowsView &weights, std::int64_t first_row) {
    check_layer(l, 1);
    if (first_row < 0 || weights.n_rows < 0 || weights.n_rows > layer(l).rows() - first_row ||
        weights.n_columns != layer(l).n_out)
        throw std::invalid_argument(
            "rows " + std::to_string(first_row) + " ... of the weights of layer " + std::to_string(l) +
            " are (" + std::to_string(weights.n_rows) + ", " + std::to_string(weights.n_columns) + "), of (" +
            std::to_string(layer(l).rows()) + ", " + std::to_string(layer(l).n_out) + ") in all");
    const Change change(caller_lock_);
    rows_to_lines<T>(weights, layer(l).weights, layer(l).panel(), first_row);
    layer(l).transposed_is_current = false;
    invalidate_cache();
}

template <class T> void NetworkOf<T>::set_parameters(const void *numbers, Scalar scalar, std::int64_t count) {
    if (count != n_parameters())
        throw std::invalid_argument("the network has " + std::to_string(n_parameters()) +
                                    " parameters, got " + std::to_string(count));
    const Change change(caller_lock_);
    const std::int64_t size = scalar == Scalar::float32 ? sizeof(float) : sizeof(double);
    const char *at = static_cast<const char *>(numbers);
    for (Layer<T> &layer : layers_) {
        const RowsView view{at, scalar, layer.rows(), layer.n_out, layer.n_out, 1};
        rows_to_lines<T>(view, layer.weights, layer.panel());
        at += size * layer.parameters();
    }
    weights_changed();
}

template <class T> void NetworkOf<T>::lines_to_parameters(const T *lines, T *out) const {
    for (const Layer<T> &layer : layers_) {
        lines_to_rows<T>(lines, layer.panel(), layer.rows(), layer.n_out, out);
        lines += layer.weight_count();
        out += layer.parameters();
    }
}

template <class T> void NetworkOf<T>::parameters_to_lines(const T *numbers, T *lines) const {
    for (const Layer<T> &layer : layers_) {
        const RowsView view{numbers, Precision<T>::scalar, layer.rows(), layer.n_out, layer.n_out, 1};
        rows_to_lines<T>(view, lines, layer.panel());
        lines += layer.weight_count();
        numbers += layer.parameters();
    }
}

template <class T> void NetworkOf<T>::get(Quantity quantity, int l, void *out) const {
    const Read read(caller_lock_);
    read_out(quantity, l, static_cast<T *>(out));
}

template <class T> void NetworkOf<T>::get_parameters(void *out) const {
    const Read read(caller_lock_);
    T *at = static_cast<T *>(out);
    for (int l = 1; l <= depth(); at += layer(l).parameters(), ++l)
        read_out(Quantity::weights, l, at);
}

template <class T> bool NetworkOf<T>::has_finite_weights() const {
    const Read read(caller_lock_);
    return std::all_of(layers_.begin(), layers_.end(), [](const Layer<T> &layer) {
        return are_finite<T>(layer.weights, layer.panel(), layer.rows(), layer.n_out);
    });
}

template <class T> void NetworkOf<T>::get_gradient(void *out) const {
    const Read read(caller_lock_);
    read_gradient(static_cast<T *>(out));
}

template <class T> std::int64_t NetworkOf<T>::cached_rows() const {
    const Read read(caller_lock_);
    return cached_rows_;
}

template <class T> void NetworkOf<T>::read_out(Quantity quantity, int l, T *out) const {
    check_layer(l, quantity == Quantity::output || quantity == Quantity::loss_gradient ? 0 : 1);
    const std::size_t i = static_cast<std::size_t>(l);
    const auto from_weights = [&](const T *lines) {
        lines_to_rows<T>(lines, layer(l).panel(), layer(l).rows(), layer(l).n_out, out);
    };
    const auto from_cache = [&](const T *lines) {
        lines_to_rows<T>(lines, cache_->stride, cached_rows_, width(l), out);
    };
    const auto need = [](bool there, const char *message) {
        if (!there)
            throw std::logic_error(message);
    };
    switch (quantity) {
    case Quantity::weights:
        return from_weights(layer(l).weights);
    case Quantity::weight_gradient:
        need(has_weight_gradients_, "there are no weight gradients before a backward pass");
        return from_weights(layer(l).gradient);
    case Quantity::output:
        need(cached_rows_ > 0, "there are no outputs before a forward pass");
        if (l == 0 && cache_->sparse)
            return cache_->sparse->write(out);
        return from_cache(cache_->output[i]);
    case Quantity::local_gradient:
        need(cached_rows_ > 0, "there are no local gradients before a forward pass");
        return read_local_gradient(l, out);
    case Quantity::loss_gradient:
        need(has_loss_gradients_, "there are no loss gradients before backpropagate");
        return from_cache(cache_->loss_gradient[i]);
    case Quantity::delta:
        need(has_loss_gradients_, "there are no loss gradients before backpropagate");
        return from_cache(cache_->delta[i]);
    }
    throw std::invalid_argument("there is no such quantity");
}

template <class T> void NetworkOf<T>::read_gradient(T *out) const {
    for (int l = 1; l <= depth(); out += layer(l).parameters(), ++l)
        read_out(Quantity::weight_gradient, l, out);
}

// dy/dz is what a loss gradient of ones becomes.
template <class T> void NetworkOf<T>::read_local_gradient(int l, T *out) const {
    if (jacobian(l) != Jacobian::diagonal)
        throw std::invalid_argument(
            "the local gradient of softmax, or of several quantile levels, is a matrix");
    const Layer<T> &at = layer(l);
    const Index count = line_count<T>(at.n_out) * cache_->stride;
    Arena arena;
    arena.plan<T>(count);
    arena.allocate();
    T *ones = arena.take<T>(count);
    std::fill(ones, ones + count, T(1));
    const std::size_t i = static_cast<std::size_t>(l);
    kernels_.head_delta(HeadArgs<T>{cache_->output[i], ones, cache_->local[i], cache_->stride, at.n_out,
                                    at.head(), cache_->scratch[0]},
                        0, cached_rows_);
    lines_to_rows<T>(ones, cache_->stride, cached_rows_, at.n_out, out);
}

template <class T> void NetworkOf<T>::need_transposed(bool first_layer) {
    const auto allocate = [this](std::size_t begin, std::size_t end) {
        Arena arena;
        for (std::size_t i = begin; i < end; ++i)
            arena.plan<T>(layers_[i].transposed_count());
        arena.allocate();
        for (std::size_t i = begin; i < end; ++i)
            if (!layers_[i].elementwise())
                layers_[i].transposed = arena.take<T>(layers_[i].transposed_count());
        return arena;
    };
    if (layers_.size() > 1 && !layers_.back().transposed) // the head is dense
        transposed_ = allocate(1, layers_.size());
    if (first_layer && !layers_[0].elementwise() && !layers_[0].transposed)
        first_transposed_ = allocate(0, 1);
    for (std::size_t i = first_layer ? 0 : 1; i < layers_.size(); ++i) {
        Layer<T> &layer = layers_[i];
        if (layer.transposed_is_current || layer.elementwise())
            continue;
        kernels_.update_weights(refresh(layer, LayerState<T>{}, layer.transposed, false), 0, layer.blocks());
        layer.transposed_is_current = true;
    }
}

template <class T> void NetworkOf<T>::refresh_transposed(const SharedBlocks &blocks, Team &team) {
    blocks.share(team, [&](const BlockRange &range) {
        if (range.l > 1 && layers_[range.l - 1].transposed)
            kernels_.update_weights(
                refresh(layers_[range.l - 1], LayerState<T>{}, layers_[range.l - 1].transposed, false),
                range.begin, range.end);
    });
    for (std::size_t i = 1; i < layers_.size(); ++i)
        layers_[i].transposed_is_current = true;
}

template <class T> void NetworkOf<T>::need_gradients() {
    if (layers_[0].gradient)
        return;
    Arena arena;
    for (const Layer<T> &layer : layers_)
        arena.plan<T>(layer.weight_count());
    arena.allocate();
    for (Layer<T> &layer : layers_)
        layer.gradient = arena.take<T>(layer.weight_count());
    gradients_ = std::move(arena);
}

template <class T> double NetworkOf<T>::work(const RowsView &rows) const {
    const double entries =
        static_cast<double>(rows.n_stored) / static_cast<double>(std::max<Index>(rows.n_rows, 1));
    double work = reads_sparse(rows) ? layers_[0].sparse_work(entries) : layers_[0].work();
    for (std::size_t i = 1; i < layers_.size(); ++i)
        work += layers_[i].work();
    return work;
}

template <class T> int NetworkOf<T>::choose_threads(int requested, double work, Index rows, Index piece) {
    return std::min(team_size_for(work * static_cast<double>(rows), requested, kWorkOfCall),
                    team_size_for(work * static_cast<double>(piece), requested, kWorkOfPhase));
}

template <class T> bool NetworkOf<T>::has_custom_activation() const {
    return std::any_of(layers_.begin(), layers_.end(),
                       [](const Layer<T> &layer) { return layer.activation == Activation::custom; });
}

template <class T>
template <class Rows, class Finish>
void NetworkOf<T>::for_slices(const RowsView &rows, Index first, Index n, const Targets &targets,
                              int n_threads, StopRequest stop, Rows run_rows, Finish finish) const {
    // This is small enough for the outputs of two layers to stay in the L2 cache, and large enough to reuse
    // the weights.
    const Index longest = std::min(kBatchSlice, std::max<Index>(1, n));
    const Index slices = (n + longest - 1) / longest;
    const auto slice_batch = [&](Index slice) {
        return Batch<T>{&rows, targets, nullptr, first + slice * longest, 0, 1.0, 0};
    };
    const auto count_of = [&](Index slice) { return std::min(longest, n - slice * longest); };
    PassOptions options = PassOptions::predicting();
    options.sparse = reads_sparse(rows);
    const auto make = [&](int members) {
        auto pass = std::make_unique<Pass<T>>(layers_, longest, members, options);
        reserve_entries(*pass, rows, first, n, longest);
        return pass;
    };
    StopWatch watch(stop);
    if (has_custom_activation()) { // the slices one after the other, the rows of each shared
        const std::unique_ptr<Pass<T>> made = make(n_threads);
        const Pass<T> &pass = *made;
        run_team(n_threads, [&](Team &team) {
            for (Index slice = 0; slice < slices && !watch.ask(); ++slice) {
                const Batch<T> batch = slice_batch(slice);
                const Index count = count_of(slice);
                batch.place(pass, count);
                const std::size_t done = forward_custom(layers_, pass, batch, count, kernels_, watch, team);
                team.share_range(count, [&](Index begin, Index end, int thread) {
                    run_rows(pass, batch, done, watch, thread, begin, end);
                });
                if (!watch.stopped())
                    finish(pass, batch, count);
            }
        });
        return;
    }
    const int threads = static_cast<int>(std::min<Index>(n_threads, std::max<Index>(1, slices)));
    std::vector<std::unique_ptr<Pass<T>>> passes(static_cast<std::size_t>(threads));
    for (std::unique_ptr<Pass<T>> &pass : passes)
        pass = make(1);
    run_team(threads, [&](Team &team) {
        team.share(slices, [&](Index slice, int thread) {
            if (watch.ask())
                return;
            const Pass<T> &pass = *passes[static_cast<std::size_t>(thread)];
            const Batch<T> batch = slice_batch(slice);
            batch.place(pass, count_of(slice));
            if (run_rows(pass, batch, 0, watch, 0, 0, count_of(slice)))
                finish(pass, batch, count_of(slice));
        });
    });
}

template <class T>
void NetworkOf<T>::predict(const RowsView &rows, void *out, int n_threads, StopRequest stop) const {
    check_rows(rows);
    const Index n_out = layers_.back().n_out;
    T *y = static_cast<T *>(out);
    for_slices(
        rows, 0, rows.n_rows, {}, choose_threads(n_threads, work(rows), rows.n_rows, rows.n_rows), stop,
        [&](const Pass<T> &pass, const Batch<T> &batch, std::size_t done, StopWatch &watch, int thread,
            Index begin, Index end) {
            return forward_rows(layers_, pass, batch, done, true, kernels_, watch, thread, begin, end);
        },
        [&](const Pass<T> &pass, const Batch<T> &batch, Index count) {
            lines_to_rows<T>(pass.output.back(), pass.stride, count, n_out, y + batch.first_row * n_out);
        });
}

template <class T>
double NetworkOf<T>::evaluate(const RowsView &rows, const Targets &targets, int n_threads,
                              StopRequest stop) const {
    double sum = 0.0, weight = 0.0;
    evaluate_sums(rows, targets, &rows.n_rows, 1, &sum, &weight, n_threads, stop);
    return sum / weight;
}

template <class T>
void NetworkOf<T>::evaluate_sums(const RowsView &rows, const Targets &targets, const std::int64_t *ends,
                                 std::int64_t count, double *sums, double *weights, int n_threads,
                                 StopRequest stop) const {
    check_rows(rows);
    if (spec_.loss.loss == Loss::custom)
        throw std::logic_error("a custom loss is evaluated by its own function");
    check_targets(targets);
    const int threads = choose_threads(n_threads, work(rows), rows.n_rows, rows.n_rows);
    std::vector<double> slices;
    Index begin = 0;
    for (Index i = 0; i < count; ++i) {
        if (ends[i] < begin || ends[i] > rows.n_rows)
            throw std::invalid_argument("the ends of parts must ascend up to the number of rows");
        const Index n = ends[i] - begin;
        slices.assign(static_cast<std::size_t>((n + kBatchSlice - 1) / kBatchSlice), 0.0);
        for_slices(
            rows, begin, n, targets, threads, stop,
            [&](const Pass<T> &pass, const Batch<T> &batch, std::size_t done, StopWatch &watch, int thread,
                Index first, Index last) {
                if (!forward_rows(layers_, pass, batch, done, false, kernels_, watch, thread, first, last))
                    return false;
                kernels_.loss_layer(loss_layer_args(loss_args(), pass, batch, thread), first, last);
                return true;
            },
            [&](const Pass<T> &pass, const Batch<T> &batch, Index rows_of_slice) {
                slices[static_cast<std::size_t>((batch.first_row - begin) / kBatchSlice)] =
                    add_weighted_losses(0.0, pass.row_loss, batch, rows_of_slice);
            });
        sums[i] = 0.0;
        for (const double slice : slices)
            sums[i] += slice;
        weights[i] = total_weight(targets.sample_weight ? targets.sample_weight + begin : nullptr, n);
        begin = ends[i];
    }
}

template <class T>
void NetworkOf<T>::prepare_cache(const RowsView &rows, int n_threads, bool loss_gradients) {
    cached_rows_ = 0;
    has_loss_gradients_ = false;
    PassOptions options;
    options.loss_gradients = loss_gradients;
    options.sparse = reads_sparse(rows);
    if (!cache_ || !cache_->fits(rows.n_rows, n_threads, options))
        cache_ = std::make_unique<Pass<T>>(layers_, rows.n_rows, n_threads, options);
    reserve_entries(*cache_, rows, 0, rows.n_rows, rows.n_rows);
}

template <class T> bool NetworkOf<T>::run_forward(const RowsView &rows, int n_threads, StopRequest stop) {
    const double row_work = work(rows);
    const int threads = choose_threads(n_threads, row_work, rows.n_rows, rows.n_rows);
    // For a custom loss, forward and backward do what backpropagate does for the others.
    prepare_cache(rows, threads, spec_.loss.loss == Loss::custom);
    const Pass<T> &pass = *cache_;
    const Batch<T> batch{&rows, {}, nullptr, 0, 0, 0.0, 0};
    batch.place(pass, rows.n_rows);
    StopWatch watch(stop);
    run_team(threads, [&](Team &team) {
        const std::size_t done = forward_custom(layers_, pass, batch, rows.n_rows, kernels_, watch, team);
        team.share_range(rows.n_rows, [&](Index begin, Index end, int thread) {
            forward_rows(layers_, pass, batch, done, true, kernels_, watch, thread, begin, end);
        });
    });
    if (watch.stopped())
        return false;
    cached_rows_ = rows.n_rows;
    cached_work_ = row_work;
    cache_is_current_ = true;
    return true;
}

template <class T>
void NetworkOf<T>::forward(const RowsView &rows, void *out, int n_threads, StopRequest stop) {
    check_rows(rows);
    const Change change(caller_lock_);
    if (run_forward(rows, n_threads, stop))
        read_out(Quantity::output, depth(), static_cast<T *>(out));
}

template <class T>
void NetworkOf<T>::sum_weight_gradients(const Pass<T> &pass, Index rows, GradientMode mode,
                                        const SharedBlocks &blocks, StopWatch &watch, Team &team) {
    if (pass.sparse && !watch.stopped())
        pass.sparse->transpose();
    blocks.share(team, [&](const BlockRange &range) {
        const WeightArgs<T> args = sum_and_store(layers_[range.l - 1], pass, range.l, rows, mode);
        watch.run(range.begin, range.end, block_work<T>(rows),
                  [&](Index begin, Index end) { kernels_.update_weights(args, begin, end); });
    });
}

template <class T>
bool NetworkOf<T>::run_backward(const RowsView &loss_gradient, bool input_gradient, int n_threads,
                                StopRequest stop) {
    const Index rows = cached_rows_;
    if (loss_gradient.n_rows != rows || loss_gradient.n_columns != layers_.back().n_out)
        throw std::invalid_argument(
            "loss_gradient must have " + std::to_string(rows) + " rows, as X of the forward pass had, and " +
            std::to_string(layers_.back().n_out) + " columns; got shape (" +
            std::to_string(loss_gradient.n_rows) + ", " + std::to_string(loss_gradient.n_columns) + ")");
    need_gradients();
    need_transposed(input_gradient);
    const Pass<T> &pass = *cache_;
    if (input_gradient)
        cache_->need_input_gradient(spec_.n_inputs);
    if (pass.sparse)
        pass.sparse->reserve_columns();
    const int threads = std::min(choose_threads(n_threads, 2.0 * cached_work_, rows, rows),
                                 static_cast<int>(pass.scratch.size()));
    const SharedBlocks blocks(layers_, threads);
    rows_to_lines<T>(loss_gradient, pass.delta.back(), pass.stride);
    if (pass.loss_gradient.back())
        rows_to_lines<T>(loss_gradient, pass.loss_gradient.back(), pass.stride);
    StopWatch watch(stop);
    has_weight_gradients_ = has_loss_gradients_ = false;
    run_team(threads, [&](Team &team) {
        team.share_range(rows, [&](Index begin, Index end, int thread) {
            kernels_.head_delta(head_args(layers_, pass, thread), begin, end);
            backward_rows(layers_, pass, input_gradient, kernels_, watch, begin, end);
        });
        sum_weight_gradients(pass, rows, GradientMode::overwrite, blocks, watch, team);
    });
    if (watch.stopped())
        return false;
    has_weight_gradients_ = true;
    has_loss_gradients_ = pass.options.loss_gradients && input_gradient;
    return true;
}

template <class T>
void NetworkOf<T>::backward(const RowsView &loss_gradient, void *input_gradient, int n_threads,
                            StopRequest stop) {
    const Change change(caller_lock_);
    if (cached_rows_ == 0)
        throw std::logic_error("backward needs a forward pass before it");
    if (!cache_is_current_)
        throw std::logic_error(
            "backward needs a forward pass with the weights as they are: they have changed");
    if (run_backward(loss_gradient, input_gradient != nullptr, n_threads, stop) && input_gradient)
        lines_to_rows<T>(cache_->delta[0], cache_->stride, cached_rows_, spec_.n_inputs,
                         static_cast<T *>(input_gradient));
}

// Runs both passes with a custom loss between them. If it asks to stop, there is no backward pass.
template <class T>
double NetworkOf<T>::run_custom(const RowsView &rows, bool input_gradient, int n_threads, StopRequest stop,
                                BatchLoss custom) {
    if (!custom.function)
        throw std::invalid_argument("a custom loss needs its function");
    has_weight_gradients_ = false;
    if (!run_forward(rows, n_threads, stop))
        return 0.0;
    const Index n_out = layers_.back().n_out;
    std::vector<T> output(static_cast<std::size_t>(rows.n_rows * n_out)), loss_gradient(output.size());
    read_out(Quantity::output, depth(), output.data());
    double loss = 0.0;
    if (custom.function(custom.context, output.data(), rows.n_rows, loss_gradient.data(), &loss))
        run_backward({loss_gradient.data(), Precision<T>::scalar, rows.n_rows, n_out, n_out, 1},
                     input_gradient, n_threads, stop);
    return loss;
}

template <class T>
double NetworkOf<T>::backpropagate(const RowsView &rows, const Targets &targets, int n_threads,
                                   const std::vector<ReadOut> &results, StopRequest stop, BatchLoss custom) {
    check_rows(rows);
    check_targets(targets);
    const Change change(caller_lock_);
    const auto read_results = [&] {
        for (const ReadOut &result : results)
            read_out(result.quantity, result.l, static_cast<T *>(result.out));
    };
    if (spec_.loss.loss == Loss::custom) {
        const double loss = run_custom(rows, true, n_threads, stop, custom);
        if (has_loss_gradients_)
            read_results();
        return loss;
    }
    const Index n = rows.n_rows;
    const double row_work = work(rows);
    const int threads = choose_threads(n_threads, 3.0 * row_work, n, n);
    need_gradients();
    need_transposed(true);
    prepare_cache(rows, threads, true);
    cache_->need_input_gradient(spec_.n_inputs);
    const Pass<T> &pass = *cache_;
    if (pass.sparse)
        pass.sparse->reserve_columns();
    const SharedBlocks blocks(layers_, threads);
    const double weight = total_weight(targets.sample_weight, n);
    const Batch<T> batch{&rows, targets, nullptr, 0, 0, 1.0 / weight, 0};
    batch.place(pass, n);
    StopWatch watch(stop);
    has_weight_gradients_ = false;
    run_team(threads, [&](Team &team) {
        row_phase(layers_, loss_args(), pass, batch, n, true, kernels_, watch, team);
        sum_weight_gradients(pass, n, GradientMode::overwrite, blocks, watch, team);
    });
    if (watch.stopped())
        return 0.0;
    cached_rows_ = n;
    cached_work_ = row_work;
    cache_is_current_ = has_weight_gradients_ = has_loss_gradients_ = true;
    read_results();
    return add_weighted_losses(0.0, pass.row_loss, batch, n) / weight;
}

template <class T>
double NetworkOf<T>::loss_and_gradient(const RowsView &rows, const Targets &targets, int n_threads,
                                       void *gradient, StopRequest stop, BatchLoss custom) {
    check_rows(rows);
    check_targets(targets);
    const Change change(caller_lock_);
    const auto read_result = [&] {
        if (gradient && has_weight_gradients_)
            read_gradient(static_cast<T *>(gradient));
    };
    if (spec_.loss.loss == Loss::custom) {
        const double loss = run_custom(rows, false, n_threads, stop, custom);
        read_result();
        return loss;
    }
    const Index n = rows.n_rows;
    const Index piece = std::min(n, kPieceRows);
    const int threads = choose_threads(n_threads, 3.0 * work(rows), n, piece);
    need_gradients();
    need_transposed(false);
    std::unique_ptr<Pass<T>> pass;
    need_pass(pass, rows, piece, threads);
    const SharedBlocks blocks(layers_, threads);
    const double weight = total_weight(targets.sample_weight, n);
    double loss = 0.0;
    StopWatch watch(stop);
    has_weight_gradients_ = false;
    run_team(threads, [&](Team &team) {
        loss = sum_loss_and_gradient(rows, targets, 0, n, weight, *pass, blocks, watch, team) / weight;
    });
    has_weight_gradients_ = !watch.stopped();
    read_result();
    return loss;
}

template <class T>
void NetworkOf<T>::need_pass(std::unique_ptr<Pass<T>> &pass, const RowsView &rows, Index piece,
                             int n_threads) const {
    PassOptions options;
    options.sparse = reads_sparse(rows);
    if (!pass || !pass->fits(piece, n_threads, options))
        pass = std::make_unique<Pass<T>>(layers_, piece, n_threads, options);
    reserve_entries(*pass, rows, 0, rows.n_rows, piece);
    if (pass->sparse)
        pass->sparse->reserve_columns();
}

template <class T>
double NetworkOf<T>::sum_loss_and_gradient(const RowsView &rows, const Targets &targets, Index begin,
                                           Index end, double weight, const Pass<T> &pass,
                                           const SharedBlocks &blocks, StopWatch &watch, Team &team) {
    double total = 0.0;
    for (Index first = begin; first < end && !watch.ask(); first += pass.rows) {
        const Index count = std::min(pass.rows, end - first);
        const Batch<T> batch{&rows, targets, nullptr, first, first, 1.0 / weight, 0};
        batch.place(pass, count);
        row_phase(layers_, loss_args(), pass, batch, count, false, kernels_, watch, team);
        total = add_weighted_losses(total, pass.row_loss, batch, count);
        sum_weight_gradients(pass, count, first > begin ? GradientMode::accumulate : GradientMode::overwrite,
                             blocks, watch, team);
    }
    return total;
}

template <class T>
double NetworkOf<T>::custom_loss_and_gradient(const RowsView &rows, int n_threads, StopRequest stop,
                                              BatchLoss custom, bool &done) {
    const double loss = run_custom(rows, false, n_threads, stop, custom);
    done = has_weight_gradients_;
    has_weight_gradients_ = false; // the caller changes them
    return loss;
}

template <class T> void NetworkOf<T>::poison_padding() {
    const Change change(caller_lock_);
    const T nan = std::numeric_limits<T>::quiet_NaN();
    for (Layer<T> &layer : layers_) {
        for (T *weights : {layer.weights, layer.gradient})
            if (weights)
                fill_padding<T>(weights, layer.panel(), layer.rows(), layer.n_out, nan);
        if (layer.transposed)
            fill_padding<T>(layer.transposed, layer.n_out * kLanes<T>, layer.n_out, layer.n_in, nan);
    }
    if (!cache_)
        return;
    for (std::size_t l = 0; l <= layers_.size(); ++l)
        for (T *buffer : {cache_->output[l], cache_->local[l], cache_->delta[l], cache_->loss_gradient[l],
                          cache_->share[l]})
            if (buffer)
                fill_padding<T>(buffer, cache_->stride, cache_->rows, width(static_cast<int>(l)), nan);
}

template class NetworkOf<float>;
template class NetworkOf<double>;

} // namespace densegrad
