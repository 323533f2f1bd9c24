// What the race checker is told of a launch: which thread runs, and what CUDA orders. Nothing, but with
// -DRRM_MODEL_TSAN. For machine.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace model {

#ifdef RRM_MODEL_TSAN
extern "C" {
void *__tsan_get_current_fiber();
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_acquire(void *address);
void __tsan_release(void *address);
}

// ThreadSanitizer follows each CUDA thread as a fiber. Switching between them orders nothing; what CUDA orders, it is
// told here.
//
// A clock can only be kept at an address, and only merged with what is there. So as to order no more than CUDA does,
// each address below belongs to one thread, whose own clock only grows. (That of an atomic variable collects what all
// releases to it bring, as C++ has it.)
class Races {
  public:
    class Thread {
        friend class Races;
        void *fiber_ = nullptr, *outbound_ = nullptr, *inbound_ = nullptr;
        bool fenced_ = false, has_inbound_ = false;
        char known_ = 0, at_fence_ = 0, observed_ = 0; // only their addresses are used
    };

    void begin_launch() {
        host_ = __tsan_get_current_fiber();
        janitor_ = __tsan_create_fiber(0);
    }
    void end_launch() {
        __tsan_destroy_fiber(janitor_);
        bury_all_but(0);
        published_.clear();
        __tsan_acquire(&ended_);
    }

    // For the host to call: the thread begins with what the host knows.
    void create(Thread &thread) {
        thread.fiber_ = __tsan_create_fiber(0);
    }
    void enter(const Thread &thread) {
        now(thread.fiber_);
    }
    void enter_host() {
        now(host_);
    }
    void leave(Thread &thread) {
        now(thread.fiber_);
        __tsan_release(&ended_);
    }
    // ThreadSanitizer takes a fiber for the one that had its number before, so they are kept as long as they may be.
    void retire(Thread &thread) {
        for (void *courier : {thread.outbound_, thread.inbound_}) {
            if (courier != nullptr) {
                __tsan_destroy_fiber(courier);
            }
        }
        dead_.push_back(thread.fiber_);
        bury_all_but(kept_dead);
    }

    // What the caller allocates is as if it had been there before the launch for all who call see_made.
    template <class Work> void as_host(Work work, const Thread &caller, void *made) {
        now(host_);
        work();
        __tsan_release(made);
        now(caller.fiber_);
    }
    void see_made(void *made) {
        __tsan_acquire(made);
    }
    // Frees what threads that have left used. The host must not know what they did: blocks that it starts later would.
    template <class Work> void as_janitor(Work work) {
        now(janitor_);
        __tsan_acquire(&ended_);
        work();
        now(host_);
    }

    // All that any of `count` threads did is before whatever any of them will do. thread(i) is the i-th of them.
    template <class Get> void meet(unsigned count, Get thread, const Thread &running) {
        Thread &first = thread(0);
        for (unsigned i = 1; i < count; ++i) {
            release_known(thread(i));
            now(first.fiber_);
            __tsan_acquire(&thread(i).known_);
        }
        release_known(first);
        for (unsigned i = 1; i < count; ++i) {
            now(thread(i).fiber_);
            __tsan_acquire(&first.known_);
        }
        now(running.fiber_);
    }

    // As in C++: what a thread did before a fence is passed on by its atomic operations after the fence; and what its
    // atomic operations came across counts from its next fence on. A fiber of its own carries each, since the thread
    // itself must not learn of it yet.
    void fence(Thread &thread) {
        __tsan_release(&thread.at_fence_);
        thread.fenced_ = true;
        if (thread.has_inbound_) {
            __tsan_acquire(&thread.observed_);
        }
    }
    void atomic_written(Thread &thread, void *address) {
        if (!thread.fenced_) {
            return;
        }
        now(host_);
        published_.insert(address);
        carry(thread.outbound_, &thread.at_fence_, address, thread);
    }
    void atomic_read(Thread &thread, void *address) {
        if (!published_.contains(address)) {
            return;
        }
        thread.has_inbound_ = true;
        carry(thread.inbound_, address, &thread.observed_, thread);
    }

  private:
    static constexpr std::size_t kept_dead = 1024; // each takes about half a megabyte

    void *host_ = nullptr, *janitor_ = nullptr;
    std::vector<void *> dead_;
    std::unordered_set<const void *> published_;
    char ended_ = 0;

    static void now(void *fiber) {
        constexpr unsigned no_sync = 1;
        __tsan_switch_to_fiber(fiber, no_sync);
    }
    static void release_known(Thread &thread) {
        now(thread.fiber_);
        __tsan_release(&thread.known_);
    }
    void carry(void *&courier, void *from, void *to, const Thread &running) {
        if (courier == nullptr) {
            now(host_); // a fiber begins with what its creator knows
            courier = __tsan_create_fiber(0);
        }
        now(courier);
        __tsan_acquire(from);
        __tsan_release(to);
        now(running.fiber_);
    }
    void bury_all_but(std::size_t kept) {
        if (kept == 0 || dead_.size() >= 2 * kept) {
            const auto end = dead_.end() - static_cast<std::ptrdiff_t>(kept);
            for (auto fiber = dead_.begin(); fiber != end; ++fiber) {
                __tsan_destroy_fiber(*fiber);
            }
            dead_.erase(dead_.begin(), end);
        }
    }
};
#else
class Races {
  public:
    class Thread {};

    void begin_launch() {}
    void end_launch() {}
    void create(Thread &) {}
    void enter(const Thread &) {}
    void enter_host() {}
    void leave(Thread &) {}
    void retire(Thread &) {}
    template <class Work> void as_host(Work work, const Thread &, void *) {
        work();
    }
    void see_made(void *) {}
    template <class Work> void as_janitor(Work work) {
        work();
    }
    template <class Get> void meet(unsigned, Get, const Thread &) {}
    void fence(Thread &) {}
    void atomic_written(Thread &, void *) {}
    void atomic_read(Thread &, void *) {}
};
#endif

} // namespace model
