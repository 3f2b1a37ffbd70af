// This lock says who may use a network at the same time.
//
// A *change* of the network, of what it has cached or of its trainer is for one caller. A second change, from
// another thread or from a callback of the first, is an error at once. A *read* waits for the end of the
// change that another thread makes, and a change waits for the reads that have begun. The thread that makes
// the change may read at once, in a callback. So may a thread that reads already.
#pragma once

#include "densegrad/data.hpp"

#include <cstdint>
#include <thread>
#include <vector>

namespace densegrad {

class CallerLock {
  public:
    // Throws std::logic_error if another change is under way, or this thread reads.
    void begin_change();
    void end_change() noexcept;
    // Who has to wait asks `stop` now and then. Returns false if it asked to stop: nothing has begun.
    bool begin_read(StopRequest stop = {});
    void end_read() noexcept;
    // Counts the changes that have ended.
    std::int64_t changes() const;

  private:
    bool reads(std::thread::id thread) const;
    void forget_other_process();

    // The one mutex of caller_lock.cpp guards all of it, and is held for a few instructions.
    std::int64_t process_ = 0;      // a fork begins the next one, in which no other caller is left
    std::thread::id changing_;      // none: nobody
    bool change_has_begun_ = false; // false: it waits for reads
    std::int64_t changes_ = 0;      // that have ended
    std::vector<std::thread::id> reading_;
    std::int64_t waiting_ = 0; // reads that wait
    std::int64_t due_ = 0;     // of those, the ones that come before the next change
};

class Change {
  public:
    explicit Change(CallerLock &lock) : lock_(lock) { lock_.begin_change(); }
    ~Change() { lock_.end_change(); }
    Change(const Change &) = delete;
    Change &operator=(const Change &) = delete;

  private:
    CallerLock &lock_;
};

class Read {
  public:
    explicit Read(CallerLock &lock) : lock_(lock) { lock_.begin_read(); }
    ~Read() { lock_.end_read(); }
    Read(const Read &) = delete;
    Read &operator=(const Read &) = delete;

  private:
    CallerLock &lock_;
};

} // namespace densegrad
