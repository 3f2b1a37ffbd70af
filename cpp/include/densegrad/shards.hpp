// The rows of a batch may come in shards, some of them in other processes.
#pragma once

#include <cstdint>

namespace densegrad {

// Several processes use each sum together: it is called between a sum over the batch and its use. stopped:
// this process asks to end the call, and its sums are of no use. losses: (count,) sums of weighted losses;
// partials: (count,) gradients of `size` numbers in whole lines of 64 bytes. Both are of the largest parts of
// the tree over the shards that lie in this process, in their order. It leaves the sums of the whole tree in
// losses[0] and partials[0]. Returns false to end the call before the sums are used.
using Exchange = bool (*)(void *context, bool stopped, double *losses, void *const *partials,
                          std::int64_t count, std::int64_t size);

// The rows of each batch come from `total` shards, and each sum over a batch is a binary tree with a leaf for
// each shard: results do not depend on who holds which of them. A process may hold [first, first + count).
// L-BFGS makes one step, with all rows.
struct Shards {
    std::int64_t total = 1;
    std::int64_t first = 0;
    std::int64_t count = 1;
    // For each step, if they are not null; nobody may write to them meanwhile:
    const std::int64_t *ends = nullptr;       // (n_steps, count) where the rows of each shard end in `order`
    const std::int64_t *batch_rows = nullptr; // (n_steps,) rows of the whole batch
    const std::int64_t *first_rows = nullptr; // (n_steps,) number in it of the first row that is held here
    const double *batch_weights = nullptr;    // (n_steps,) sum of the sample weights of the whole batch
    std::int64_t n_steps = 0;
    Exchange exchange = nullptr; // null: all shards are here
    void *context = nullptr;     // of exchange
};

} // namespace densegrad
