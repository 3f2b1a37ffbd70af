// The core's memory is zeroed, aligned to a line, and on huge pages if that pays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace densegrad {

// Sizes come from the caller. More than 64 TiB are an error, before a sum or a product can overflow.
inline constexpr std::int64_t kLargestSize = std::int64_t{1} << 46;

inline std::int64_t checked_product(std::int64_t a, std::int64_t b) {
    std::int64_t product = 0;
    if (__builtin_mul_overflow(a, b, &product) || product > kLargestSize)
        throw std::bad_alloc();
    return product;
}

inline std::int64_t checked_sum(std::int64_t a, std::int64_t b) {
    std::int64_t sum = 0;
    if (__builtin_add_overflow(a, b, &sum) || sum > kLargestSize)
        throw std::bad_alloc();
    return sum;
}

struct Free {
    std::size_t mapped = 0;       // bytes; 0: from operator new
    std::align_val_t alignment{}; // that was asked of it
    void operator()(std::byte *memory) const {
#if defined(__linux__)
        if (mapped > 0) {
            munmap(memory, mapped);
            return;
        }
#endif
        ::operator delete(memory, alignment);
    }
};

// One allocation, carved into pieces that each start at a line.
class Arena {
  public:
    Arena() = default;

    // First pass: tell the sizes. Second pass, after allocate(): take the pieces in the same order.
    template <class T> void plan(std::int64_t count) { planned_ = checked_sum(planned_, padded<T>(count)); }

    void allocate() {
        constexpr std::size_t kHugePage = std::size_t{2} << 20;
        const std::size_t bytes = static_cast<std::size_t>(planned_);
        used_ = 0;
#if defined(__linux__)
        // Fresh pages are zero. The system clears a page when it is first written to, in whatever thread does
        // so. To clear gigabytes here would hold up Ctrl-C.
        constexpr std::size_t kFresh = std::size_t{64} << 20;
        if (bytes >= kFresh) {
            void *memory =
                mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (memory == MAP_FAILED)
                throw std::bad_alloc();
            madvise(memory, bytes + kHugePage, MADV_HUGEPAGE);
            memory_ = Memory(static_cast<std::byte *>(memory), Free{bytes + kHugePage, {}});
            const std::size_t ahead = reinterpret_cast<std::uintptr_t>(memory) % kHugePage;
            used_ = ahead == 0 ? 0 : static_cast<std::int64_t>(kHugePage - ahead);
            return;
        }
#endif
        const bool huge = bytes >= 2 * kHugePage;
        const std::align_val_t alignment{huge ? kHugePage : 64};
        void *memory = ::operator new(bytes, alignment);
#if defined(__linux__)
        if (huge)
            madvise(memory, bytes, MADV_HUGEPAGE);
#endif
        std::memset(memory, 0, bytes);
        memory_ = Memory(static_cast<std::byte *>(memory), Free{0, alignment});
    }

    template <class T> T *take(std::int64_t count) {
        T *piece = reinterpret_cast<T *>(memory_.get() + used_);
        used_ += padded<T>(count);
        return piece;
    }

  private:
    using Memory = std::unique_ptr<std::byte[], Free>;

    template <class T> static std::int64_t padded(std::int64_t count) {
        return (checked_product(count, sizeof(T)) + 63) / 64 * 64;
    }

    Memory memory_;
    std::int64_t planned_ = 0; // bytes
    std::int64_t used_ = 0;
};

} // namespace densegrad
