#include "network_of.hpp"
#include "network_spec.hpp"

#include <stdexcept>
#include <string>

namespace densegrad {
namespace {

void check_shape(const RowsView &view, Index rows, Index columns, const char *what) {
    if (view.n_rows != rows || view.n_columns != columns)
        throw std::invalid_argument(std::string(what) + " must have shape (" + std::to_string(rows) + ", " +
                                    std::to_string(columns) + "), got (" + std::to_string(view.n_rows) +
                                    ", " + std::to_string(view.n_columns) + ")");
}

} // namespace

std::unique_ptr<Network> make_network(const NetworkSpec &spec) {
    check_spec(spec);
    if (spec.scalar == Scalar::float32)
        return std::make_unique<NetworkOf<float>>(spec);
    return std::make_unique<NetworkOf<double>>(spec);
}

template <class T>
NetworkOf<T>::NetworkOf(const NetworkSpec &spec) : spec_(spec), kernels_(densegrad::kernels<T>()) {
    n_targets_ = targets_of(spec);
    for (const double level : spec.loss.levels)
        levels_.push_back(static_cast<T>(level));
    if (levels_.empty())
        levels_.push_back(static_cast<T>(spec.loss.parameter));
    Index n_in = spec.n_inputs;
    for (const LayerSpec &layer : spec.layers) {
        layers_.push_back(Layer<T>{n_in, layer.n_units, layer.activation, layer.dropout});
        n_in = layer.n_units;
    }
    layers_.back().n_levels = std::max<Index>(1, static_cast<Index>(spec.loss.levels.size()));
    for (const Layer<T> &layer : layers_) {
        checked_product(line_count<T>(layer.n_out) * kLineLength<T>, layer.n_in + 1);
        weights_.plan<T>(layer.weight_count());
    }
    weights_.allocate();
    for (Layer<T> &layer : layers_)
        layer.weights = weights_.take<T>(layer.weight_count());
}

template <class T> LossArgs<T> NetworkOf<T>::loss_args() const {
    return {spec_.loss.loss, spec_.layers.back().activation,       layers_.back().n_out,
            n_targets_,      static_cast<T>(spec_.loss.parameter), static_cast<T>(spec_.loss.label_smoothing),
            levels_.data(),  static_cast<Index>(levels_.size())};
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

template <class T> TargetsView<T> NetworkOf<T>::check_targets(const Targets &targets, Index n_rows) const {
    const TargetKind kind = loss_row(spec_.loss.loss).target;
    if (targets.classes) {
        if (kind == TargetKind::values)
            throw std::invalid_argument("class numbers are no targets for this loss");
        const Index n_out = layers_.back().n_out;
        const bool one_row_each = n_out > 1 && spec_.layers.back().activation == Activation::logistic;
        if (one_row_each)
            throw std::invalid_argument("multi-label targets must be 0/1 of shape (batch, n_L)");
        const Index n_classes = std::max<Index>(n_out, 2);
        for (Index r = 0; r < n_rows; ++r)
            if (targets.classes[r] < 0 || targets.classes[r] >= n_classes)
                throw std::invalid_argument("class numbers must be in [0, " + std::to_string(n_classes) +
                                            "), got " + std::to_string(targets.classes[r]));
    } else if (targets.values) {
        if (targets.n_targets != n_targets_)
            throw std::invalid_argument("the target must have " + std::to_string(n_targets_) +
                                        " columns, got " + std::to_string(targets.n_targets));
    } else if (spec_.loss.loss != Loss::custom) {
        throw std::invalid_argument("the loss needs a target");
    }
    return {targets.classes, static_cast<const T *>(targets.values), targets.n_targets,
            targets.sample_weight};
}

template <class T> void NetworkOf<T>::get_weights(int l, void *out) const {
    check_layer(l, 1);
    lines_to_rows<T>(layer(l).weights, layer(l).panel(), layer(l).n_in + 1, layer(l).n_out,
                     static_cast<T *>(out));
}

template <class T> void NetworkOf<T>::set_weights(int l, const RowsView &weights) {
    check_layer(l, 1);
    check_shape(weights, layer(l).n_in + 1, layer(l).n_out, "the weights of a layer");
    rows_to_lines<T>(weights, layer(l).weights, layer(l).panel());
    layer(l).transposed_is_current = false;
    weights_change();
}

template <class T> void NetworkOf<T>::get_weight_gradient(int l, void *out) const {
    check_layer(l, 1);
    if (!has_weight_gradients_)
        throw std::logic_error("there are no weight gradients before a backward pass");
    lines_to_rows<T>(layer(l).gradient, layer(l).panel(), layer(l).n_in + 1, layer(l).n_out,
                     static_cast<T *>(out));
}

template <class T> void NetworkOf<T>::need_transposed(bool first_layer) {
    const auto allocate = [this](std::size_t begin, std::size_t end) {
        Arena arena;
        for (std::size_t i = begin; i < end; ++i)
            arena.plan<T>(layers_[i].transposed_count());
        arena.allocate();
        for (std::size_t i = begin; i < end; ++i)
            layers_[i].transposed = arena.take<T>(layers_[i].transposed_count());
        return arena;
    };
    if (layers_.size() > 1 && !layers_[1].transposed)
        transposed_ = allocate(1, layers_.size());
    if (first_layer && !layers_[0].transposed)
        first_transposed_ = allocate(0, 1);
    for (std::size_t i = first_layer ? 0 : 1; i < layers_.size(); ++i) {
        Layer<T> &layer = layers_[i];
        if (layer.transposed_is_current)
            continue;
        WeightArgs<T> args{};
        args.n_in = layer.n_in;
        args.n_out = layer.n_out;
        args.weights = layer.weights;
        args.transposed = layer.transposed;
        kernels_.weights(args, 0, layer.units());
        layer.transposed_is_current = true;
    }
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

template <class T> double NetworkOf<T>::work() const {
    double work = 0.0;
    for (const Layer<T> &layer : layers_)
        work += layer.work();
    return work;
}

template <class T>
int NetworkOf<T>::choose_threads(int requested, Index rows, Index piece, double passes) const {
    const double row = work() * passes;
    return std::min(team_size_for(row * static_cast<double>(rows), requested, kWorkOfCall),
                    team_size_for(row * static_cast<double>(piece), requested, kWorkOfPhase));
}

template <class T>
template <class Body>
void NetworkOf<T>::for_pieces(Index n_rows, int n_threads, StopRequest stop, Body body) const {
    // Small enough for the outputs of two layers to stay in the L2 cache, large enough to reuse the weights.
    constexpr Index kMaxRows = kBatchSlice;
    const Index piece = std::min(kMaxRows, std::max<Index>(1, n_rows));
    const Index pieces = (n_rows + piece - 1) / piece;
    const int threads = static_cast<int>(std::min<Index>(n_threads, std::max<Index>(1, pieces)));
    std::vector<std::unique_ptr<Pass<T>>> passes;
    for (int i = 0; i < threads; ++i)
        passes.push_back(std::make_unique<Pass<T>>(layers_, piece, 1, PassOptions::predicting()));
    StopWatch watch(stop);
    run_team(threads, [&](Team &team) {
        team.share(pieces, [&](Index p, int thread) {
            if (watch.ask())
                return;
            body(*passes[static_cast<std::size_t>(thread)], watch, p * piece,
                 std::min(piece, n_rows - p * piece));
        });
    });
}

template <class T>
void NetworkOf<T>::predict(const RowsView &rows, void *out, int n_threads, StopRequest stop) const {
    check_rows(rows);
    const Index n_out = layers_.back().n_out;
    T *y = static_cast<T *>(out);
    for_pieces(rows.n_rows, choose_threads(n_threads, rows.n_rows, rows.n_rows, 1.0), stop,
               [&](const Pass<T> &pass, StopWatch &watch, Index first, Index count) {
                   Batch<T> batch{&rows, {}, nullptr, first, 0, 0.0, 0};
                   if (!forward_rows(layers_, pass, batch, true, kernels_, watch, 0, 0, count))
                       return;
                   lines_to_rows<T>(pass.output.back(), pass.stride, count, n_out, y + first * n_out);
               });
}

template <class T>
double NetworkOf<T>::evaluate(const RowsView &rows, const Targets &targets, int n_threads,
                              StopRequest stop) const {
    check_rows(rows);
    if (spec_.loss.loss == Loss::custom)
        throw std::logic_error("a custom loss is evaluated by its own function");
    const TargetsView<T> view = check_targets(targets, rows.n_rows);
    std::vector<double> sums(static_cast<std::size_t>((rows.n_rows + kBatchSlice - 1) / kBatchSlice));
    for_pieces(rows.n_rows, choose_threads(n_threads, rows.n_rows, rows.n_rows, 1.0), stop,
               [&](const Pass<T> &pass, StopWatch &watch, Index first, Index count) {
                   Batch<T> batch{&rows, view, nullptr, first, 0, 1.0, 0};
                   if (!forward_rows(layers_, pass, batch, false, kernels_, watch, 0, 0, count))
                       return;
                   kernels_.head_loss(head_args(loss_args(), pass, batch, 0), 0, count);
                   sums[static_cast<std::size_t>(first / kBatchSlice)] =
                       weighted_loss(pass.row_loss, batch, count);
               });
    double total = 0.0;
    for (const double sum : sums)
        total += sum;
    const double weight =
        view.sample_weight ? sliced_sum(view.sample_weight, rows.n_rows) : static_cast<double>(rows.n_rows);
    return total / weight;
}

template <class T> void NetworkOf<T>::prepare_cache(Index rows, int n_threads, bool loss_gradients) {
    cached_rows_ = 0;
    has_loss_gradients_ = false;
    if (cache_ && cache_->rows == rows && cache_->options.loss_gradients == loss_gradients &&
        static_cast<int>(cache_->scratch.size()) >= n_threads)
        return;
    PassOptions options;
    options.input_gradient = true;
    options.loss_gradients = loss_gradients;
    cache_ = std::make_unique<Pass<T>>(layers_, rows, n_threads, options);
}

template <class T>
void NetworkOf<T>::forward(const RowsView &rows, void *out, int n_threads, StopRequest stop) {
    check_rows(rows);
    const int threads = choose_threads(n_threads, rows.n_rows, rows.n_rows, 1.0);
    // For a custom loss, forward and backward are what backpropagate is for the others.
    prepare_cache(rows.n_rows, threads, spec_.loss.loss == Loss::custom);
    const Pass<T> &pass = *cache_;
    const Index n_out = layers_.back().n_out;
    T *y = static_cast<T *>(out);
    const Batch<T> batch{&rows, {}, nullptr, 0, 0, 0.0, 0};
    StopWatch watch(stop);
    run_team(threads, [&](Team &team) {
        team.share_range(rows.n_rows, [&](Index begin, Index end, int thread) {
            if (forward_rows(layers_, pass, batch, true, kernels_, watch, thread, begin, end))
                lines_to_rows<T>(pass.output.back() + begin * kLineLength<T>, pass.stride, end - begin, n_out,
                                 y + begin * n_out);
        });
    });
    if (watch.stopped())
        return;
    cached_rows_ = rows.n_rows;
    cache_is_current_ = true;
}

template <class T>
void NetworkOf<T>::sum_weight_gradients(const Pass<T> &pass, Index rows, bool accumulate,
                                        const UnitChunks &units, StopWatch &watch, Team &team) {
    units.share(team, [&](const UnitChunks::Piece &piece) {
        WeightArgs<T> args = weight_args(layers_[piece.l - 1], pass, piece.l, rows);
        args.accumulate = accumulate;
        args.store = true;
        watch.run(piece.begin, piece.end, unit_work<T>(rows),
                  [&](Index begin, Index end) { kernels_.weights(args, begin, end); });
    });
}

template <class T>
void NetworkOf<T>::backward(const RowsView &loss_gradient, void *input_gradient, int n_threads,
                            StopRequest stop) {
    if (cached_rows_ == 0)
        throw std::logic_error("backward needs a forward pass before it");
    if (!cache_is_current_)
        throw std::logic_error(
            "backward needs a forward pass with the weights as they are: they have changed");
    const Index rows = cached_rows_;
    check_shape(loss_gradient, rows, layers_.back().n_out, "dL_dy");
    need_gradients();
    need_transposed(input_gradient != nullptr);
    const Pass<T> &pass = *cache_;
    const int threads =
        std::min(choose_threads(n_threads, rows, rows, 2.0), static_cast<int>(pass.scratch.size()));
    const UnitChunks units(layers_, threads);
    rows_to_lines<T>(loss_gradient, pass.delta.back(), pass.stride);
    if (pass.loss_gradient.back())
        rows_to_lines<T>(loss_gradient, pass.loss_gradient.back(), pass.stride);
    StopWatch watch(stop);
    has_weight_gradients_ = has_loss_gradients_ = false;
    run_team(threads, [&](Team &team) {
        team.share_range(rows, [&](Index begin, Index end, int thread) {
            kernels_.head_delta(head_only_args(layers_, pass, thread), begin, end);
            backward_rows(layers_, pass, input_gradient != nullptr, kernels_, watch, begin, end);
        });
        sum_weight_gradients(pass, rows, false, units, watch, team);
    });
    if (watch.stopped())
        return;
    has_weight_gradients_ = true;
    has_loss_gradients_ = pass.options.loss_gradients && input_gradient != nullptr;
    if (input_gradient)
        lines_to_rows<T>(pass.delta[0], pass.stride, rows, spec_.n_inputs, static_cast<T *>(input_gradient));
}

template <class T>
double NetworkOf<T>::backpropagate(const RowsView &rows, const Targets &targets, int n_threads,
                                   StopRequest stop) {
    check_rows(rows);
    if (spec_.loss.loss == Loss::custom)
        throw std::logic_error("a custom loss goes by forward and backward");
    const TargetsView<T> view = check_targets(targets, rows.n_rows);
    const int threads = choose_threads(n_threads, rows.n_rows, rows.n_rows, 3.0);
    need_gradients();
    need_transposed(true);
    prepare_cache(rows.n_rows, threads, true);
    const Pass<T> &pass = *cache_;
    const UnitChunks units(layers_, threads);
    const Index n = rows.n_rows;
    const double weight = view.sample_weight ? sliced_sum(view.sample_weight, n) : static_cast<double>(n);
    const Batch<T> batch{&rows, view, nullptr, 0, 0, 1.0 / weight, 0};
    const bool head_has_local = layers_.back().local_gradient() == LocalGradient::buffer;
    StopWatch watch(stop);
    has_weight_gradients_ = false;
    run_team(threads, [&](Team &team) {
        team.share_range(n, [&](Index begin, Index end, int thread) {
            // The loss layer works from z and leaves no local gradient of the head.
            if ((head_has_local &&
                 !forward_rows(layers_, pass, batch, true, kernels_, watch, thread, begin, end)) ||
                !forward_rows(layers_, pass, batch, false, kernels_, watch, thread, begin, end))
                return;
            kernels_.head_loss(head_args(loss_args(), pass, batch, thread), begin, end);
            backward_rows(layers_, pass, true, kernels_, watch, begin, end);
        });
        sum_weight_gradients(pass, n, false, units, watch, team);
    });
    if (watch.stopped())
        return 0.0;
    cached_rows_ = n;
    cache_is_current_ = has_weight_gradients_ = has_loss_gradients_ = true;
    return weighted_loss(pass.row_loss, batch, n) / weight;
}

template <class T>
double NetworkOf<T>::loss_and_gradient(const RowsView &rows, const Targets &targets, int n_threads,
                                       StopRequest stop) {
    check_rows(rows);
    if (spec_.loss.loss == Loss::custom)
        throw std::logic_error("a custom loss goes by forward and backward");
    const TargetsView<T> view = check_targets(targets, rows.n_rows);
    const Index n = rows.n_rows;
    const Index piece = std::min(n, kPieceRows);
    const int threads = choose_threads(n_threads, n, piece, 3.0);
    need_gradients();
    need_transposed(false);
    const Pass<T> pass(layers_, piece, threads, PassOptions{});
    const UnitChunks units(layers_, threads);
    const double weight = view.sample_weight ? sliced_sum(view.sample_weight, n) : static_cast<double>(n);
    double total = 0.0;
    StopWatch watch(stop);
    has_weight_gradients_ = false;
    run_team(threads, [&](Team &team) {
        for (Index first = 0; first < n && !watch.ask(); first += piece) {
            const Index count = std::min(piece, n - first);
            const Batch<T> batch{&rows, view, nullptr, first, first, 1.0 / weight, 0};
            team.share_range(count, [&](Index begin, Index end, int thread) {
                if (!forward_rows(layers_, pass, batch, false, kernels_, watch, thread, begin, end))
                    return;
                kernels_.head_loss(head_args(loss_args(), pass, batch, thread), begin, end);
                backward_rows(layers_, pass, false, kernels_, watch, begin, end);
            });
            total += weighted_loss(pass.row_loss, batch, count);
            sum_weight_gradients(pass, count, first > 0, units, watch, team);
        }
    });
    has_weight_gradients_ = !watch.stopped();
    return total / weight;
}

template <class T> void NetworkOf<T>::get_output(int l, void *out) const {
    check_layer(l, 0);
    if (cached_rows_ == 0)
        throw std::logic_error("there are no outputs before a forward pass");
    lines_to_rows<T>(cache_->output[static_cast<std::size_t>(l)], cache_->stride, cached_rows_, width(l),
                     static_cast<T *>(out));
}

template <class T> void NetworkOf<T>::get_local_gradient(int l, void *out) const {
    check_layer(l, 1);
    if (cached_rows_ == 0)
        throw std::logic_error("there are no local gradients before a forward pass");
    const Layer<T> &at = layer(l);
    if (at.local_gradient() == LocalGradient::jacobian || at.n_levels > 1)
        throw std::invalid_argument(
            "the local gradient of softmax, or of several quantile levels, is a matrix");
    // dy/dz is what a loss gradient of ones becomes.
    Arena arena;
    arena.plan<T>(line_count<T>(at.n_out) * cache_->stride);
    arena.allocate();
    T *ones = arena.take<T>(line_count<T>(at.n_out) * cache_->stride);
    std::fill(ones, ones + line_count<T>(at.n_out) * cache_->stride, T(1));
    const std::size_t i = static_cast<std::size_t>(l);
    kernels_.head_delta(HeadOnlyArgs<T>{cache_->output[i], ones, cache_->local[i], cache_->stride, at.n_out,
                                        at.activation, cache_->scratch[0]},
                        0, cached_rows_);
    lines_to_rows<T>(ones, cache_->stride, cached_rows_, at.n_out, static_cast<T *>(out));
}

template <class T> void NetworkOf<T>::check_loss_gradients() const {
    if (!has_loss_gradients_)
        throw std::logic_error("there are no loss gradients before backpropagate");
}

template <class T> void NetworkOf<T>::get_loss_gradient(int l, void *out) const {
    check_layer(l, 0);
    check_loss_gradients();
    lines_to_rows<T>(cache_->loss_gradient[static_cast<std::size_t>(l)], cache_->stride, cached_rows_,
                     width(l), static_cast<T *>(out));
}

template <class T> void NetworkOf<T>::get_delta(int l, void *out) const {
    check_layer(l, 1);
    check_loss_gradients();
    lines_to_rows<T>(cache_->delta[static_cast<std::size_t>(l)], cache_->stride, cached_rows_, width(l),
                     static_cast<T *>(out));
}

template <class T> void NetworkOf<T>::poison_padding() {
    const T nan = std::numeric_limits<T>::quiet_NaN();
    for (Layer<T> &layer : layers_) {
        for (T *weights : {layer.weights, layer.gradient})
            if (weights)
                fill_padding<T>(weights, layer.panel(), layer.n_in + 1, layer.n_out, nan);
        if (layer.transposed)
            fill_padding<T>(layer.transposed, layer.n_out * kLineLength<T>, layer.n_out, layer.n_in, nan);
    }
    if (!cache_)
        return;
    for (std::size_t l = 0; l <= layers_.size(); ++l)
        for (T *buffer : {cache_->output[l], cache_->local[l], cache_->delta[l], cache_->loss_gradient[l]})
            if (buffer)
                fill_padding<T>(buffer, cache_->stride, cache_->rows, width(static_cast<int>(l)), nan);
}

template class NetworkOf<float>;
template class NetworkOf<double>;

} // namespace densegrad
